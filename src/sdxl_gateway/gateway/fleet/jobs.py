"""Reports this gateway's jobs to the others, takes over those of gateways that are gone, lets go of its lost ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from sdxl_gateway.core.errors import EngineFault, Gone, Unavailable
from sdxl_gateway.core.stored_job import JobState, StoredJob
from sdxl_gateway.gateway.runner import failed, quarantined
from sdxl_gateway.shared.job_mirror import JobMirror, Report, Sight
from sdxl_gateway.shared.order_mirror import Owing, nobody
from sdxl_gateway.shared.outcome import Outcome
from sdxl_gateway.storage.job_outbox import Untold
from sdxl_gateway.storage.jobs import MOST_ATTEMPTS, JobStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
TELL_SECONDS = 1.0
"""The caller of an accepted job waits no longer than this for it to be reported."""
AGAIN_SECONDS = 3600.0
"""Unfinished jobs are reported again after this time, before their records expire."""
TOLD_AT_ONCE = 64
TAKEN_AT_ONCE = 50
"""At most so many in each turn, so that other gateways take some too."""
NEVER = 0.0


class JobHands(Protocol):
    """What JobFleet asks of whoever runs the jobs."""

    async def end(self, job_id: str) -> None:
        """Cancel it."""

    def drop(self, job_id: str) -> None:
        """Stop painting it."""

    def wake(self) -> None:
        """There are new ones to paint."""


@dataclass(slots=True)
class _Contact:
    """Since when Redis has answered without a break, and when all jobs were last reported; monotonic seconds."""

    since: float | None = None
    told_all: float = NEVER
    adopted: bool = False


class JobFleet:
    """Each turn brings mirror and database in line, by the database: changes that it marks as untold are reported, and
    jobs that the mirror says are this gateway's are taken into it. A job that was taken over is let go of once its new
    owner has it in its own database.

    Nobody takes over before every gateway had a whole lease's time to report, as after Redis was away; and of a tenant
    that a gateway has still to erase, which `owing` tells, nothing is taken over from it.
    """

    def __init__(
        self,
        store: JobStore,
        mirror: JobMirror,
        hands: JobHands,
        clock: Callable[[], float] = time.monotonic,
        owing: Owing = nobody,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._hands = hands
        self._clock = clock
        self._owing = owing
        self._contact = _Contact()
        self._turn = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """Whether every other gateway had a whole lease's time to report."""
        since = self._contact.since
        return since is not None and self._clock() - since >= self._mirror.lease_seconds

    @property
    def still(self) -> AbstractAsyncContextManager[None]:
        """Nothing is reported or taken over meanwhile: what is deleted then cannot come back from a turn that read it
        before."""
        return self._turn

    async def running(self) -> None:
        """Turn after turn, until this is cancelled; a last report then lets the others take over."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            with suppress(Unavailable):
                await self._tell()
                await self._mirror.leave()

    async def turn(self) -> None:
        """Renew the lease, report, take over and let go, once; what cannot be done now is done in a later turn."""
        async with self._turn:
            try:
                await self._look()
            except Unavailable:
                self._contact = _Contact()

    async def tell_now(self) -> None:
        """Report all changes, if that takes no longer than a moment."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(TELL_SECONDS), self._turn:
                await self._tell()

    async def _look(self) -> None:
        sight, now, contact = await self._mirror.look(), self._clock(), self._contact
        if contact.since is None:
            contact.since = now
        await self._prepare(sight, now)
        await self._tell()
        if not contact.adopted:
            await self._adopt()
            contact.adopted = True
        if self.settled:
            for gateway in sight.gone:
                await self._take_over(gateway)
        for job_id in sight.cancels:
            await self._hands.end(job_id)

    async def _prepare(self, sight: Sight, now: float) -> None:
        """Mark what is to be reported again: all jobs when the lease had ended, unfinished ones from time to time."""
        unix_seconds, contact = self._store.clock(), self._contact
        too_old = unix_seconds - self._mirror.kept_seconds
        if not sight.held or contact.told_all == NEVER:
            await self._store.tell_again(too_old, too_old)
        elif now - contact.told_all >= AGAIN_SECONDS:
            await self._store.tell_again(unix_seconds, too_old)
        else:
            return
        contact.told_all = now

    async def _tell(self) -> None:
        """Report all changes; a job's events before its end."""
        while untold := await self._store.untold(TOLD_AT_ONCE):
            await self._mirror.tell_news()
            outcomes = await self._mirror.tell([self._report(one.job) for one in untold])
            for one, outcome in zip(untold, outcomes, strict=True):
                await self._settle(one, outcome)
            await self._store.note_told(untold)
        await self._mirror.tell_news()

    def _report(self, job: StoredJob) -> Report:
        return Report(job, self._store.address_of(job))

    async def _settle(self, told: Untold, outcome: Outcome) -> None:
        job = told.job
        match outcome:
            case Outcome.TAKEN if await self._mirror.has_moved(job):
                log.warning("job %s was taken over by another gateway", job.id)
                await self._store.let_go(job.id)
                self._hands.drop(job.id)
            case Outcome.TAKEN:
                self._contact.told_all = NEVER
            case Outcome.CANCELLED:
                await self._hands.end(job.id)
            case Outcome.LACKING:
                with suppress(Gone):
                    await self._mirror.keep_uploads(job, await self._store.uploads_of(job))
                    await self._mirror.tell([self._report(job)])

    async def _take_over(self, gateway: str) -> None:
        count = await self._mirror.take_over(gateway, TAKEN_AT_ONCE, await self._owing(gateway))
        if count:
            log.warning("%d jobs of gateway %s, which is gone, are this one's now", count, gateway)
            self._contact.adopted = False
            await self._adopt()
            self._contact.adopted = True

    async def _adopt(self) -> None:
        """Take jobs into the database that the mirror says are this gateway's: just taken over, or before a crash."""
        for job_id in await self._store.unknown(await self._mirror.owned()):
            found = await self._mirror.find(job_id)
            if found is not None and not found.report.job.state.over:
                await self._take_in(found.report)
        await self._tell()

    async def _take_in(self, report: Report) -> None:
        job = report.job
        try:
            uploads = await self._store.keep_uploads(await self._uploads_of(report))
        except Gone:
            uploads = None
        self._hands.drop(job.id)
        await self._store.adopt(replace(job, state=JobState.QUEUED, uploads=uploads, started=None))
        if job.uploads is not None and uploads is None:
            await self._store.end(job.id, failed(EngineFault("The pictures that came with this job are gone.")))
        elif job.state is JobState.IN_PROGRESS and job.attempts >= MOST_ATTEMPTS:
            await self._store.end(job.id, quarantined())
        self._hands.wake()

    async def _uploads_of(self, report: Report) -> bytes:
        if report.job.uploads is None:
            return b""
        if report.uploads_at is not None:
            return await self._store.uploads_at(report.uploads_at)
        return await self._mirror.uploads_of(report.job.id)
