"""Dispatches jobs to the replicas of a cluster (a core Backend)."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from itertools import count
from pathlib import Path

from sdxl_gateway.backends.dispatched import Dispatched
from sdxl_gateway.backends.process.backend import FAILED_STARTS_BEFORE_CLOSING
from sdxl_gateway.backends.ray.handle import EngineGone, EngineHandle, Replicas
from sdxl_gateway.backends.ray.remote import RemoteEngine
from sdxl_gateway.core.errors import CLOSING
from sdxl_gateway.core.events import EngineLost
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.outside import CheckpointFetched, CheckpointsStored
from sdxl_gateway.ipc.messages import Ended, Leaving, Report, Stored
from sdxl_gateway.jobs.dispatcher import Dispatcher, ignore
from sdxl_gateway.jobs.engine_slot import EngineSlot
from sdxl_gateway.jobs.placing import Choose
from sdxl_gateway.scheduling.dispatch import choose

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FORGOTTEN_SECONDS = 300.0
"""A lost replica that is not replaced within this time is taken to have been scaled down."""


class RayBackend(Dispatched):
    """A dispatcher whose engines are the replicas, each from when it is found until it is gone.

    Other gateways may use the same replicas: each replica tells every gateway what it holds for the others, so that no
    gateway gives it more than it has room for. An engine's id is the lowest free number; a replica that replaces a lost
    one takes over its id. Copies of LoRAs are in `data_directory`; `choose` picks the replica for a job.
    """

    def __init__(
        self,
        replicas: Replicas,
        data_directory: Path,
        *,
        queue_size: int,
        tenant_queue_size: int | None = None,
        max_lanes: int = 4,
        listener: EngineListener = ignore,
        choose: Choose = choose,
    ) -> None:
        self._replicas = replicas
        self._data_directory = data_directory
        self._listener = listener
        super().__init__(
            Dispatcher(
                queue_size=queue_size,
                tenant_queue_size=tenant_queue_size,
                max_lanes=max_lanes,
                listener=listener,
                choose=choose,
            )
        )
        self._visits: dict[str, asyncio.Task[None]] = {}
        self._orphans: dict[str, float] = {}
        self._leaving: set[str] = set()
        self._blind = False
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start without waiting; `ready` turns true when a replica's engine is loaded. Jobs may be submitted before."""
        self._looking = asyncio.create_task(self._look_again_and_again(), name="replicas")

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """End every job with Unavailable; replicas drop this gateway's jobs. Safe to call when not started."""
        self.drain(CLOSING)
        tasks = [task for task in (self._looking, *self._visits.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_seconds)
        await self._replicas.close()

    async def _look_again_and_again(self) -> None:
        while True:
            replicas = await self._told()
            for name in sorted(replicas.keys() - self._visits.keys()):
                self._visits[name] = asyncio.create_task(self._visit(name, replicas[name]), name=f"replica-{name}")
            self._forget_orphans()
            await asyncio.sleep(LOOK_SECONDS)

    async def _told(self) -> dict[str, EngineHandle]:
        """The replicas; none while the cluster does not answer, which is logged once."""
        try:
            replicas = await self._replicas.now()
        except Exception as problem:
            if not self._blind:
                log.error("the cluster does not tell its replicas: %s: %s", type(problem).__name__, problem)
            self._blind = True
            return {}
        self._blind = False
        return replicas

    async def _visit(self, name: str, handle: EngineHandle) -> None:
        """Follow the replica from when it answers until it is gone."""
        engine = RemoteEngine(handle, self._data_directory, lambda: self.wait_seconds)
        try:
            said = await engine.open()
            slot = self._slot(engine)
            try:
                await engine.follow(said, partial(self._on_report, slot))
            finally:
                self._gone(slot)
                await engine.leave()
        except EngineGone:
            log.warning("the replica %s is gone", name)
        except Exception:
            log.exception("the replica %s is not understood", name)
        finally:
            del self._visits[name]

    def _slot(self, engine: RemoteEngine) -> EngineSlot:
        """A slot with the id of a lost replica, if there is one, or else the lowest free id."""
        slots = self._dispatcher.slots
        taken = {slot.engine_id for slot in slots}
        engine_id = min(self._orphans, default=None) or next(i for i in map(str, count()) if i not in taken)
        self._orphans.pop(engine_id, None)
        slot = EngineSlot(engine_id, engine.send)
        slots.append(slot)
        return slot

    def _on_report(self, slot: EngineSlot, report: Report) -> None:
        if isinstance(report, Leaving):
            self._leaving.add(slot.engine_id)
        if isinstance(report, Stored):
            self._on_stored(slot, report.manifests)
        elif isinstance(report, CheckpointFetched):
            self._on_fetched(report)
        elif isinstance(report, Ended):
            self._dispatcher.engine_lost(slot)
            if report.failed_starts >= FAILED_STARTS_BEFORE_CLOSING and not self.ready:
                self._dispatcher.drain("The engine cannot be started; see the cluster's logs.")
        else:
            self._dispatcher.on_report(slot, report)

    def _on_stored(self, slot: EngineSlot, manifests: tuple[str, ...]) -> None:
        slot.stored = frozenset(manifests)
        self._listener(CheckpointsStored(slot.engine_id, manifests))
        self._dispatcher.dispatch()

    def _on_fetched(self, fetched: CheckpointFetched) -> None:
        if fetched.outcome == "fetched":
            self._dispatcher.estimate.fetches.add(fetched.seconds)
        self._listener(fetched)

    def _gone(self, slot: EngineSlot) -> None:
        for_good = slot.engine_id in self._leaving
        self._leaving.discard(slot.engine_id)
        self._dispatcher.slots.remove(slot)
        self._listener(CheckpointsStored(slot.engine_id, ()))
        self._dispatcher.engine_lost(slot, for_good=for_good)
        if not for_good:
            self._orphans[slot.engine_id] = time.monotonic()

    def _forget_orphans(self) -> None:
        for engine_id, since in list(self._orphans.items()):
            if time.monotonic() - since > FORGOTTEN_SECONDS:
                del self._orphans[engine_id]
                self._listener(EngineLost(engine_id, for_good=True))
