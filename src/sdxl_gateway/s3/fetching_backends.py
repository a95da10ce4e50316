"""Backends (core) that have the checkpoints of their jobs fetched from the bucket first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from logging import getLogger

from sdxl_gateway.core.events import Failed, Finished, JobEvent
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.ports import Backend, JobEvents
from sdxl_gateway.s3.checkpoint_catalog import SharedCheckpointCatalog
from sdxl_gateway.s3.fetches import Fetches
from sdxl_gateway.s3.forwarding import Forwarding

log = getLogger(__name__)


class HeldJobEvents(AsyncIterator[JobEvent]):
    """The events of one job (a core JobEvents), whose checkpoints are held until the last one."""

    def __init__(self, events: JobEvents, held: ExitStack) -> None:
        self.position = events.position
        self._events = events
        self._each = aiter(events)
        self._held = held

    async def __anext__(self) -> JobEvent:
        event = await anext(self._each)
        if isinstance(event, Finished | Failed):
            self._held.close()
        return event

    async def aclose(self) -> None:
        """As JobEvents."""
        self._held.close()
        await self._events.aclose()

    def detach(self) -> None:
        """As JobEvents."""
        self._events.detach()


class FetchingBackend(Forwarding):
    """Fetches checkpoints to this machine: `backend` is started once the one called `first` is here, and jobs wait for
    theirs."""

    def __init__(self, backend: Backend, catalog: SharedCheckpointCatalog, fetches: Fetches, first: str | None) -> None:
        super().__init__(backend)
        self._catalog = catalog
        self._fetches = fetches
        self._first = first
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start without waiting; `ready` turns true when an engine can paint. Jobs may be submitted before."""
        if self._first is None or self._catalog.manifest_named(self._first) is None:
            await self._backend.start()
        else:
            self._starting = asyncio.create_task(self._start(self._first))

    async def _start(self, first: str) -> None:
        """Fetch the first checkpoint, however long that takes, unless this server has one of that name by then."""
        try:
            while (digest := self._catalog.manifest_named(first)) and not await self._fetches.keep(digest):
                pass
            await self._backend.start()
        except Exception:
            log.exception("the engines could not be started")
            self._backend.drain("The engine cannot be started; see the server's log.")

    async def stop(self, grace_seconds: float) -> None:
        """As Backend; fetches end."""
        self._fetches.close()
        if self._starting is not None:
            self._starting.cancel()
        await self._backend.stop(grace_seconds)

    async def submit(self, job: Job) -> JobEvents:
        """As Backend, once the job's checkpoints are here. May also raise StillLoading, Unavailable, StorageFull."""
        held = await self._fetches.hold(self._catalog.manifests(job.recipe.phases))
        try:
            return HeldJobEvents(await self._backend.submit(job), held)
        except BaseException:
            held.close()
            raise


class ManifestBackend(Forwarding):
    """Has engines on other machines fetch the checkpoints of their jobs: each job names its manifests."""

    def __init__(self, backend: Backend, catalog: SharedCheckpointCatalog) -> None:
        super().__init__(backend)
        self._catalog = catalog

    async def submit(self, job: Job) -> JobEvents:
        """As Backend."""
        return await self._backend.submit(replace(job, manifests=self._catalog.manifests(job.recipe.phases)))
