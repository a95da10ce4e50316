"""Takes jobs that are over, forgets what they were asked in words, sooner than what became of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.storage.jobs import JobStore

TEXTS = ("prompt", "negative_prompt")


class JobTexts:
    """The words of a store's jobs; they are exported and erased with these."""

    kind = "prompts"

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """Nothing beside what the jobs tell."""
        return []

    async def erase(self, tenant: str) -> int:
        """Nothing beside the jobs."""
        return 0

    async def forget_before(self, unix_seconds: float) -> int:
        """The words of jobs that were over by then are gone; of how many jobs that were."""
        return await self._store.forget_texts_before(unix_seconds, without_texts)


def without_texts(job: StoredJob) -> StoredJob:
    """The same, whose prompts are empty: what was sent, what was painted, and in the pictures' recipes."""
    settled = json.loads(job.ask)
    result = None if job.result is None else json.loads(job.result)
    for one in (settled, settled["ask"], *(picture["recipe"] for picture in (result or {}).get("pictures", ()))):
        one |= {name: "" for name in TEXTS if one.get(name)}
    return replace(job, ask=json.dumps(settled), result=None if result is None else json.dumps(result))
