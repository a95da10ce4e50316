"""Runs jobs of several gateways on one supervised engine process: everything a replica does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count

from sdxl_gateway.backends.ray.checkpoints import open_checkpoints
from sdxl_gateway.backends.ray.copies import Arrivals
from sdxl_gateway.backends.ray.frames import unpack
from sdxl_gateway.backends.ray.supervised import Supervise
from sdxl_gateway.backends.ray.visit import Visit
from sdxl_gateway.config import S3, EngineProcess
from sdxl_gateway.core.errors import Cancelled, GatewayError
from sdxl_gateway.core.events import Event, Failed, Finished, JobEvent, Measurement, MemoryHeld
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.outside import CheckpointFetched
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.ipc.messages import (
    NOBODY,
    Cancel,
    Ended,
    Leaving,
    Message,
    OthersHold,
    Ready,
    Refused,
    Report,
    Stored,
    Submit,
)
from sdxl_gateway.jobs.dispatcher import WINDOW_LANES
from sdxl_gateway.jobs.engine_slot import Assignment, EngineSlot
from sdxl_gateway.jobs.estimate import Estimate

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
LEASE_SECONDS = 15.0
"""A gateway that has not polled for so long is gone, and so are the callers who waited for its pictures."""
WINDOWS = 2
"""A gateway may hold two windows of jobs: it counts what others hold, and may see that with a delay."""
NO_BUCKET = S3()


@dataclass(frozen=True, slots=True)
class Given:
    """The gateway a job is from, and the job's id there."""

    gateway: str
    job_id: str


class EngineHost:
    """One engine, shared by gateways. A job whose checkpoint is in the bucket `shared` waits here until it is fetched.

    The engine is given a new id for each job, which is used once: its reports about a job that was cancelled, or
    submitted again after its gateway was away, are then ignored.
    """

    def __init__(
        self,
        config: EngineProcess,
        supervise: Supervise,
        shared: S3 = NO_BUCKET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = supervise(config, self._on_report, self._on_lost)
        self._slot = EngineSlot("", send=self._engine.send)
        self._estimate = Estimate(config.engine.max_lanes)
        self.most_images = WINDOWS * WINDOW_LANES * config.engine.max_lanes
        self._arrivals = Arrivals(config.data_directory, config.loras.max_file_bytes)
        self._checkpoints = open_checkpoints(shared, config, self._on_fetched)
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, ExitStack] = {}
        self._starting: asyncio.Task[None] | None = None
        self._clock = clock
        self._visits: dict[str, Visit] = {}
        self._given: dict[str, Given] = {}
        self._names = count()
        self._memory: MemoryHeld | None = None
        self._idle = asyncio.Event()
        self._leaving = False

    async def start(self) -> None:
        """Start without waiting; visitors are told when the engine is loaded."""
        self._note_stored()
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        try:
            await self._checkpoints.first()
            await self._engine.start()
        except Exception:
            log.exception("the engine could not be started")

    async def stop(self, grace_seconds: float) -> None:
        """Stop; no process is left when this returns."""
        self._checkpoints.close()
        if self._starting is not None:
            self._starting.cancel()
        await self._engine.stop(grace_seconds)

    async def drain(self) -> None:
        """Tell visitors to submit nothing more, and to take back what has not begun; returns when all jobs are over."""
        self._leaving = True
        self._say_all(Leaving())
        self._note_idle()
        await self._idle.wait()

    async def watching(self) -> None:
        """Regularly end visits of gateways that are gone, and notice what other replicas of the node fetched."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            self.sweep(self._clock())
            self._note_stored()

    def sweep(self, now: float) -> None:
        """End the visits of gateways that have not polled for too long at `now`, in seconds of a steady clock."""
        for gateway, visit in list(self._visits.items()):
            if now - visit.seen_at > LEASE_SECONDS:
                log.warning("a gateway has not asked for %.0f s: what it wanted is given up", LEASE_SECONDS)
                self.close(gateway)

    @property
    def wait_seconds(self) -> float:
        """The longest wait that any gateway predicts for a job that is submitted now."""
        return max((visit.wait_seconds for visit in self._visits.values()), default=0.0)

    # -- the gateways' side

    def open(self, gateway: str) -> bytes:
        """As EngineHandle."""
        visit = self._visits[gateway] = Visit(self._clock())
        stored = Stored(tuple(sorted(self._slot.stored))) if self._slot.stored else None
        for message in (stored, self._slot.ready, self._memory, Leaving() if self._leaving else None):
            if message is not None:
                visit.say(message)
        visit.say_others(self._others_than(gateway))
        return visit.taken()

    def tell(self, gateway: str, commands: bytes) -> None:
        """As EngineHandle; commands of a gateway without a visit are ignored."""
        for message in unpack(commands):
            if isinstance(message, Submit) and gateway in self._visits:
                self._submit(gateway, message.job)
            elif isinstance(message, Cancel):
                self._cancel(Given(gateway, message.job_id))
        self._say_others()

    async def poll(self, gateway: str, wait_seconds: float) -> bytes | None:
        """As EngineHandle; None if it has no visit."""
        visit = self._visits.get(gateway)
        if visit is None:
            return None
        visit.seen_at, visit.wait_seconds = self._clock(), wait_seconds
        return await visit.news(POLL_SECONDS)

    async def lacks(self, digests: Collection[str]) -> Sequence[str]:
        """As EngineHandle."""
        return await asyncio.to_thread(self._arrivals.lacks, digests)

    async def put(self, gateway: str, digest: str, chunk: bytes, last: bool) -> None:
        """As EngineHandle."""
        await asyncio.to_thread(self._arrivals.add, gateway, digest, chunk, last)

    def close(self, gateway: str) -> None:
        """As EngineHandle."""
        self._visits.pop(gateway, None)
        self._arrivals.forget(gateway)
        for name in [name for name, given in self._given.items() if given.gateway == gateway]:
            self._slot.send(Cancel(name))
            self._forget(name)
        self._say_others()

    def _submit(self, gateway: str, job: Job) -> None:
        if self._slot.ready is None or self._leaving or self._slot.images(job.priority) >= self.most_images:
            visit = self._visits[gateway]
            visit.say_others(self._others_than(gateway))
            visit.say(Refused(job.id))
            return
        name = f"{next(self._names)}"
        renamed = replace(job, id=name)
        self._given[name], self._slot.assigned[name] = Given(gateway, job.id), Assignment(renamed)
        if renamed.manifests:
            self._fetching[name] = asyncio.create_task(self._submit_later(renamed))
        else:
            self._slot.send(Submit(renamed))

    async def _submit_later(self, job: Job) -> None:
        """Submit the job once its checkpoints are here."""
        try:
            self._held[job.id] = await self._checkpoints.hold(job.manifests)
        except GatewayError as error:
            self._pass_on(Failed(job.id, error))
        else:
            del self._fetching[job.id]
            self._slot.send(Submit(job))

    def _cancel(self, wanted: Given) -> None:
        for name in [name for name, given in self._given.items() if given == wanted]:
            if name in self._fetching:
                self._pass_on(Failed(name, Cancelled("The request was cancelled.")))
            else:
                self._slot.send(Cancel(name))

    # -- the engine's side

    def _on_report(self, report: Report) -> None:
        """Handle a report of the engine, and pass it on to the gateways it concerns."""
        if isinstance(report, JobEvent):
            self._pass_on(report)
            return
        if isinstance(report, Ready):
            self._slot.ready = report
        if isinstance(report, MemoryHeld):
            self._memory = report
        if isinstance(report, Measurement):
            for costs in (self._estimate.costs, self._slot.costs):
                costs.observe(report)
        if isinstance(report, Ready | Measurement):
            self._say_all(report)

    def _on_lost(self, failed_starts: int) -> None:
        """The engine's process has ended; another is being started."""
        self._slot.is_lost(self._clock())
        for name in list(self._given):
            self._forget(name)
        self._memory = None
        self._say_all(Ended(failed_starts))
        self._say_others()
        self._note_idle()

    def _pass_on(self, event: JobEvent) -> None:
        given = self._given.get(event.job_id)
        if given is None:
            return
        self._slot.assigned[event.job_id].follow(event)
        self._visits[given.gateway].say(replace(event, job_id=given.job_id))
        if isinstance(event, Finished | Failed):
            self._forget(event.job_id)
            self._say_others()

    def _forget(self, name: str) -> None:
        del self._given[name], self._slot.assigned[name]
        if name in self._fetching:
            self._fetching.pop(name).cancel()
        if name in self._held:
            self._held.pop(name).close()
        self._note_idle()

    def _on_fetched(self, event: Event) -> None:
        if isinstance(event, CheckpointFetched):
            self._say_all(event)
        self._note_stored()

    def _note_stored(self) -> None:
        """Tell visitors if the stored checkpoints have changed, so that they dispatch jobs that wait for one."""
        stored = frozenset(self._checkpoints.stored)
        if stored != self._slot.stored:
            self._slot.stored = stored
            self._say_all(Stored(tuple(sorted(stored))))

    def _note_idle(self) -> None:
        if self._leaving and not self._given:
            self._idle.set()

    def _say_all(self, message: Message) -> None:
        for visit in self._visits.values():
            visit.say(message)

    def _say_others(self) -> None:
        for gateway, visit in self._visits.items():
            visit.say_others(self._others_than(gateway))

    def _others_than(self, gateway: str) -> OthersHold:
        assigned = {n: a for n, a in self._slot.assigned.items() if self._given[n].gateway != gateway}
        if not assigned:
            return NOBODY
        view = replace(self._slot, assigned=assigned)
        seconds = (view.seconds_before(priority, self._estimate) for priority in Priority)
        return OthersHold(tuple(view.images(priority) for priority in Priority), tuple(seconds))
