"""The settings of the audit log, of retention, and of encryption."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import Bytes, Keys, Section

Days = Annotated[float, Field(gt=0, le=36_600)]


class Audit(Section):
    """What is recorded of callers' actions, and what happens if it cannot be."""

    enabled: bool = True
    prompts: bool = False
    sync: Literal["always", "second", "never"] = "second"
    max_file_bytes: Annotated[Bytes, Field(ge=64 * 1024)] = 64 * 2**20
    when_full: Literal["continue", "refuse"] = "continue"


class Encryption(Section):
    """The secrets of prompts and uploads: the first encrypts, all decrypt; without any they are stored in the clear."""

    secrets: Keys = ()


class Retention(Section):
    """After how many days stored data is deleted, by kind; None keeps it until its owner deletes it."""

    prompts_days: Days | None = 30.0
    inputs_days: Days | None = 30.0
    results_days: Days | None = 30.0
    jobs_days: Days | None = 30.0
    usage_days: Days | None = 400.0
    feedback_days: Days | None = 400.0
    audit_days: Days | None = 365.0

    def days(self, kind: str) -> float | None:
        """The days of a store's kind; None, which keeps the data, for a kind without a setting."""
        found: float | None = getattr(self, f"{_ALSO.get(kind, kind)}_days", None)
        return found


_ALSO = {
    "files": "inputs",
    "images": "results",
    "idempotency": "results",
    "batches": "jobs",
    "webhooks": "jobs",
    "reviews": "prompts",
}
"""Kinds that are kept as long as another kind."""
