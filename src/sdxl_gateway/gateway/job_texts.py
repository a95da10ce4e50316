"""Forgets the prompts of finished jobs, sooner than the jobs themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.storage.jobs import JobStore

TEXTS = ("prompt", "negative_prompt")


class JobTexts:
    """The prompts of a store's jobs (a core TenantStore); they are exported and erased with the jobs."""

    kind = "prompts"

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """Nothing: the jobs' own export has them."""
        return []

    async def erase(self, tenant: str) -> int:
        """Nothing: they go with the jobs."""
        return 0

    async def forget_before(self, unix_seconds: float) -> int:
        """Forget the prompts of jobs that were over by then; of how many jobs that were."""
        return await self._store.forget_texts_before(unix_seconds, without_texts)


def without_texts(job: StoredJob) -> StoredJob:
    """The job with empty prompts: as they were sent, as they were painted, and in the pictures' recipes."""
    settled = json.loads(job.ask)
    result = None if job.result is None else json.loads(job.result)
    for one in (settled, settled["ask"], *(picture["recipe"] for picture in (result or {}).get("pictures", ()))):
        one |= {name: "" for name in TEXTS if one.get(name)}
    return replace(job, ask=json.dumps(settled), result=None if result is None else json.dumps(result))
