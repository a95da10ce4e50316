"""Takes stored jobs in their order, a few at a time, and has each painted to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import (
    ENGINE_CRASHED,
    Busy,
    DeadlineExceeded,
    EngineFault,
    GatewayError,
    LostWhilePainting,
    StorageFull,
    Unavailable,
)
from sdxl_gateway.core.stored_job import Ending, JobState, StoredJob
from sdxl_gateway.core.trace import Trace, following
from sdxl_gateway.gateway.events import Accepted, Done, Partial, Presented, Progressed, Withheld
from sdxl_gateway.gateway.jobs_elsewhere import OtherJobs
from sdxl_gateway.gateway.live_job import Bell, LiveJob
from sdxl_gateway.gateway.packed import (
    HeldPicture,
    JobResult,
    KeptPicture,
    pack_error,
    pack_result,
    readable,
    unpack_ask,
    unpack_caller,
)
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.storage.job_table import Live, Tenants
from sdxl_gateway.storage.jobs import MOST_ATTEMPTS, JobStore

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
NOT_NOW = (Unavailable, StorageFull)
"""Passing problems, which are no fault of the job: it is tried again, which counts as no attempt."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The job goes back to its place in the queue; `counted` if this was an attempt."""

    counted: bool


def quarantined() -> Ending:
    """The end of a job that crashed an engine or a server each time it was taken up."""
    told = "The engine or the server ended each time it had this job in hand, so it is not tried again."
    return failed(EngineFault(told, code=ENGINE_CRASHED))


def failed(error: GatewayError) -> Ending:
    """The end of a job that cannot be painted."""
    return Ending(JobState.FAILED, error=pack_error(error))


class Runner:
    """At most `most` jobs of a class and those above it are `live` at a time; the others wait on the disk.

    `painter` gives the gateway of now, which may be another one after the settings were read again. What `others` took
    over meanwhile has its end there, and is let go of by the fleet.
    """

    def __init__(self, store: JobStore, painter: Callable[[], Gateway], most: int, others: OtherJobs) -> None:
        self.live: dict[str, LiveJob] = {}
        self.turned = Bell()
        self._wake = asyncio.Event()
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._careful: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._store = store
        self._painter = painter
        self._most = most
        self._others = others

    async def running(self) -> None:
        """Paint jobs until this is cancelled; those that are live then go back into the queue."""
        try:
            while True:
                self._wake.clear()
                await self._feed()
                await self._wake.wait()
        finally:
            await self._let_go()

    def wake(self) -> None:
        """Look for jobs to take up, now."""
        self._wake.set()
        self.turned.ring()

    def drop(self, job_id: str) -> None:
        """Stop painting this job."""
        if (task := self._tasks.get(job_id)) is not None:
            task.cancel()

    async def _feed(self) -> None:
        try:
            jobs = await self._store.claim(self._held(), self._most, self._tenants())
        except (StorageFull, Unavailable) as problem:
            log.error("no job can be taken up: %s", problem)
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self.wake)
            return
        for job in jobs:
            self._take_up(job)
        if jobs:
            self.turned.ring()

    def _held(self) -> list[Live]:
        return [Live(live.job.tenant, live.job.priority) for live in self.live.values()]

    def _tenants(self) -> Tenants:
        """Of a tenant that its limits turned away before, one job at a time tries whether they let it in again."""
        unsure = {live.job.tenant for live in self.live.values() if not live.let_in} & self._careful
        return Tenants(frozenset(self._resting) | unsure, frozenset(self._careful))

    def _rest(self, tenant: str, seconds: float) -> None:
        """Take up no job of the tenant for so long, or until one of its jobs has ended."""
        self._wake_up(tenant)
        self._careful.add(tenant)
        wait = min(max(seconds, PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._resting[tenant] = asyncio.get_running_loop().call_later(wait, self._rested, tenant)

    def _rested(self, tenant: str) -> None:
        self._wake_up(tenant)
        self.wake()

    def _wake_up(self, tenant: str) -> None:
        if (timer := self._resting.pop(tenant, None)) is not None:
            timer.cancel()

    def _take_up(self, job: StoredJob) -> None:
        live = self.live[job.id] = LiveJob(job, hear=partial(self._others.hear, job))
        self._tasks[job.id] = asyncio.create_task(self._work(live))

    async def _work(self, live: LiveJob) -> None:
        """However this ends, the job is no longer live; whoever cancels this decides what becomes of the job."""
        try:
            with following(Trace.read(live.job.trace or "")):
                outcome = await self._outcome(live)
            await self._until_it_is_written(live, outcome)
            if isinstance(outcome, Ending):
                self._wake_up(live.job.tenant)
        finally:
            del self.live[live.job.id], self._tasks[live.job.id]
            live.end()
            self.wake()

    async def _outcome(self, live: LiveJob) -> Ending | GivenBack:
        """How it ended, or that it goes back into the queue."""
        pause_seconds = PAUSE_SECONDS
        while True:
            try:
                return Ending(JobState.COMPLETED, result=pack_result(await self._painted(live)))
            except LostWhilePainting:
                return quarantined() if live.job.attempts >= MOST_ATTEMPTS else GivenBack(counted=True)
            except Busy as busy:
                self._rest(live.job.tenant, busy.retry_after_seconds or PAUSE_SECONDS)
                return GivenBack(counted=False)
            except NOT_NOW as problem:
                log.warning("job %s waits: %s", live.job.id, problem)
            except GatewayError as error:
                return failed(error)
            except Exception:
                log.exception("job %s could not be painted", live.job.id)
                return failed(EngineFault("The server had an error while painting this job.", code="server_error"))
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    async def _until_it_is_written(self, live: LiveJob, outcome: Ending | GivenBack) -> None:
        """Retried while the disk is full or the database is busy, so that nothing need be painted again."""
        while True:
            try:
                if isinstance(outcome, GivenBack):
                    await self._store.give_back(live.job.id, counted=outcome.counted)
                elif await self._others.own(live.job):
                    await self._store.give_back(live.job.id, counted=False)
                else:
                    await self._store.end(live.job.id, outcome, started=live.started)
            except (StorageFull, Unavailable) as problem:
                log.error("the end of job %s cannot be written yet: %s", live.job.id, problem)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return

    async def _painted(self, live: LiveJob) -> JobResult:
        """Raises what the gateway does, and DeadlineExceeded when the job's turn came too late."""
        job = live.job
        uploads = await self._store.uploads_of(job)
        ask = self._in_time(job, readable(lambda: unpack_ask(job.ask, uploads)).ask)
        live.pictures = ask.n
        caller = unpack_caller(job.caller)
        gathered = _Gathered()
        painting = self._painter().paint(ask, caller, keep=True, must_keep=True, job_id=job.id)
        async with aclosing(painting) as items:
            async for item in items:
                match item:
                    case Progressed():
                        self._note_progress(live, item)
                    case Partial():
                        live.show(item)
                    case _:
                        self._note_let_in(live)
                        gathered.take(item)
        return gathered.result()

    def _note_let_in(self, live: LiveJob) -> None:
        if not live.let_in:
            live.let_in = True
            self.wake()

    def _note_progress(self, live: LiveJob, event: Progressed) -> None:
        if live.started is None:
            live.begin(self._store.clock())
        live.progress(event)

    def _in_time(self, job: StoredJob, ask: Ask) -> Ask:
        """The Ask with what is left of its timeout. Raises DeadlineExceeded."""
        if ask.timeout is None:
            return ask
        left = job.created + ask.timeout - self._store.clock()
        if left <= 0:
            raise DeadlineExceeded("The job's turn did not come in time.")
        return replace(ask, timeout=left)

    async def _let_go(self) -> None:
        """Give every live job back; an orderly end counts as no attempt."""
        ids, tasks = list(self.live), list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id in ids:
            try:
                await self._store.give_back(job_id, counted=False)
            except (StorageFull, Unavailable) as problem:
                log.error("job %s is taken up again after the next start, as after a crash: %s", job_id, problem)


class _Gathered:
    """Collects the items of one request."""

    def __init__(self) -> None:
        self._accepted: Accepted | None = None
        self._done: Done | None = None
        self._pictures: list[KeptPicture] = []
        self._withheld: list[HeldPicture] = []

    def take(self, item: Accepted | Presented | Withheld | Done) -> None:
        """Any item but progress and partial images."""
        match item:
            case Accepted():
                self._accepted = item
            case Presented():
                self._pictures.append(_kept(item))
            case Withheld():
                self._withheld.append(HeldPicture(item.index, item.seed, pack_error(item.error)))
            case Done():
                self._done = item

    def result(self) -> JobResult:
        """Raises EngineFault where no picture came out."""
        if self._accepted is None or self._done is None or not self._pictures:
            raise EngineFault("No picture came out.")
        pictures = tuple(sorted(self._pictures, key=lambda one: one.index))
        return JobResult(self._accepted, pictures, self._done, tuple(self._withheld))


def _kept(one: Presented) -> KeptPicture:
    if one.stored is None:
        raise EngineFault("A job's picture was not kept.")
    return KeptPicture(one.index, one.stored, one.seed, one.recipe, one.review)
