"""Has other gateways hear of this one's jobs, takes over those of one that is gone, and lets go of what others took."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from sdxl_gateway.core.errors import EngineFault, Gone, Unavailable
from sdxl_gateway.core.stored_job import JobState, StoredJob
from sdxl_gateway.gateway.runner import failed, quarantined
from sdxl_gateway.shared.mirror import Mirror, Outcome, Report, Sight
from sdxl_gateway.storage.job_outbox import Untold
from sdxl_gateway.storage.jobs import MOST_ATTEMPTS, JobStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
TELL_SECONDS = 1.0
"""An accepted job's caller waits no longer for others to have heard of it."""
AGAIN_SECONDS = 3600.0
"""What is not over is told again so often, before what was told ends by itself."""
TOLD_AT_ONCE = 64
TAKEN_AT_ONCE = 50
"""Then others have a turn."""
NEVER = 0.0


class Hands(Protocol):
    """What is done here to jobs that are taken up or wait."""

    async def end(self, job_id: str) -> None:
        """It is cancelled."""

    def drop(self, job_id: str) -> None:
        """It is not painted any more."""

    def wake(self) -> None:
        """There are new ones."""


@dataclass(slots=True)
class _Contact:
    """Since when Redis has answered without a break, and until when it knew all; in seconds of a steady clock."""

    since: float | None = None
    told_all: float = NEVER
    adopted: bool = False


class Fleet:
    """This gateway's part in it. The database comes first: what stands there as untold is told sooner or later,
    whatever happens meanwhile, and what the mirror gave this gateway is looked for there. A job is let go of once it
    stands in another gateway's.

    Nobody takes over before the others could say for a whole lease that they are there, as after Redis was away.
    """

    def __init__(
        self, store: JobStore, mirror: Mirror, hands: Hands, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._hands = hands
        self._clock = clock
        self._contact = _Contact()
        self._turn = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """All others could say for a whole lease that they are there."""
        since = self._contact.since
        return since is not None and self._clock() - since >= self._mirror.lease_seconds

    async def running(self) -> None:
        """Until it is cancelled; then the others know how everything stands, and may take it over."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            with suppress(Unavailable):
                await self._tell()
                await self._mirror.leave()

    async def turn(self) -> None:
        """One look at the fleet, and all that follows from it; what cannot be done now is done in a later turn."""
        async with self._turn:
            try:
                await self._look()
            except Unavailable:
                self._contact = _Contact()

    async def tell_now(self) -> None:
        """All that changed is told, where that takes no longer than a moment."""
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
        """Where the lease had ended jobs may be others' by now, or everything may be forgotten."""
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
        """What happened to a job is told before its end."""
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
        count = await self._mirror.take_over(gateway, TAKEN_AT_ONCE)
        if count:
            log.warning("%d jobs of gateway %s, which is gone, are this one's now", count, gateway)
            self._contact.adopted = False
            await self._adopt()
            self._contact.adopted = True

    async def _adopt(self) -> None:
        """What is this gateway's and not in its database: taken over just now, or before it was cut off."""
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
