"""The settings of what is remembered: the audit log, how long everything stays, and what is kept sealed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdxl_gateway.config.section import Bytes, Keys, Section

Days = Annotated[float, Field(gt=0, le=36_600)]


class Audit(Section):
    """What is written down of what callers do, and what happens where it cannot be."""

    enabled: bool = True
    prompts: bool = False
    sync: Literal["always", "second", "never"] = "second"
    max_file_bytes: Annotated[Bytes, Field(ge=64 * 1024)] = 64 * 2**20
    when_full: Literal["continue", "refuse"] = "continue"


class Encryption(Section):
    """Under which prompts and uploads are kept: the first seals, all open; none keeps them as they are."""

    secrets: Keys = ()


class Retention(Section):
    """After how many days what is remembered goes, by its kind; None leaves it to whoever asked to delete it."""

    prompts_days: Days | None = 30.0
    inputs_days: Days | None = 30.0
    results_days: Days | None = 30.0
    jobs_days: Days | None = 30.0
    usage_days: Days | None = 400.0
    feedback_days: Days | None = 400.0
    audit_days: Days | None = 365.0

    def days(self, kind: str) -> float | None:
        """Of a store's kind; what has no setting of its own stays."""
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
"""Kinds of things that go with another kind."""
