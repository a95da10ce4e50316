"""A backend that forwards everything to another: the base of those that change a part of it."""

from __future__ import annotations

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.ports import Backend, JobEvents


class Forwarding:
    """Forwards every call to `backend` (a core Backend)."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def start(self) -> None:
        """As Backend."""
        await self._backend.start()

    async def stop(self, grace_seconds: float) -> None:
        """As Backend."""
        await self._backend.stop(grace_seconds)

    def drain(self, reason: str) -> None:
        """As Backend."""
        self._backend.drain(reason)

    async def submit(self, job: Job) -> JobEvents:
        """As Backend."""
        return await self._backend.submit(job)

    def cancel(self, job_id: str) -> None:
        """As Backend."""
        self._backend.cancel(job_id)

    @property
    def ready(self) -> bool:
        """As Backend."""
        return self._backend.ready

    @property
    def waiting(self) -> int:
        """As Backend."""
        return self._backend.waiting

    @property
    def running(self) -> int:
        """As Backend."""
        return self._backend.running

    @property
    def wait_seconds(self) -> float:
        """As Backend."""
        return self._backend.wait_seconds
