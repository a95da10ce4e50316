"""Stores in Redis which job belongs to an Idempotency-Key, so that all gateways accept it under the same id."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from redis.asyncio.client import Pipeline

from sdxl_gateway.core.stored_job import FIRST_TOKEN, JobKey, StoredJob
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.job_scripts import REMIND, RESERVE
from sdxl_gateway.shared.link import Link
from sdxl_gateway.storage.idempotency import in_use


class SharedJobKeys:
    """For each key a hash, written before the job is stored in a database: if a gateway is killed or suspended in
    between, another accepts the job in its place, under a higher token."""

    def __init__(self, link: Link, envelope: Envelope, kept_ms: int) -> None:
        self._link = link
        self._envelope = envelope
        self._kept_ms = kept_ms
        self._reserve = link.redis.register_script(RESERVE)
        self._remind = link.redis.register_script(REMIND)

    async def reserve(self, key: JobKey, job_id: str) -> tuple[str, int]:
        """As JobMirror."""
        name = self._name(key.digest)
        told, jobs = self._envelope.closed(name, job_id), self._link.key("job", "")
        asked = job_id, told, key.fingerprint, key.seconds, jobs, self._kept_ms
        found = await self._link.ask(partial(self._reserve, [name], asked))
        if not found:
            raise in_use()
        try:
            return self._envelope.opened(name, found[0]), int(found[1])
        except Foreign:
            return job_id, FIRST_TOKEN

    async def job_id(self, key: JobKey) -> str | None:
        """The id of the job under that key, if it was reserved."""
        found: Any = await self._link.ask(partial(self._link.redis.hget, self._name(key.digest), "id"))
        return None if found is None else found.decode()

    async def remind(self, job: StoredJob, pipeline: Pipeline) -> None:
        """Restore the hash of the job's key if Redis lost it."""
        if job.idempotency_key is not None and job.fingerprint is not None:
            name = self._name(job.idempotency_key)
            told = self._envelope.closed(name, job.id)
            asked = job.id, told, job.fingerprint, job.token, job.created, self._kept_ms
            await self._remind([name], asked, client=pipeline)

    def names(self, jobs: Collection[StoredJob]) -> list[str]:
        """The names of the hashes of these jobs' keys."""
        return [self._name(job.idempotency_key) for job in jobs if job.idempotency_key is not None]

    def _name(self, digest: str) -> str:
        return self._link.key("job-key", digest)
