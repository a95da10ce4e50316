"""The jobs of other gateways, as these report them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.core.stored_job import FIRST_TOKEN, JobKey, JobState, Place, StoredJob, new_job_id
from sdxl_gateway.gateway.job_now import Elsewhere, JobNow, seen, unknown_job
from sdxl_gateway.gateway.live_job import News, NewsId
from sdxl_gateway.gateway.packed import pack_news, unpack_news
from sdxl_gateway.shared.job_mirror import Found, JobMirror
from sdxl_gateway.storage.job_table import Filter

LOOK_SECONDS = 0.5
"""Pause between two queries for a job of another gateway that is followed."""
CANCEL_SECONDS = 5.0
"""A gateway that has not cancelled a job within this time counts as one that does not answer."""
LISTED_AT_ONCE = 100


class OtherJobs:
    """The jobs that `mirror` knows of; without a mirror there are none."""

    def __init__(self, mirror: JobMirror | None) -> None:
        self._mirror = mirror

    def hear(self, job: StoredJob, news: News, started: float | None) -> None:
        """Report an event of a job of this gateway, which an engine began at `started` (unix seconds)."""
        if self._mirror is not None:
            self._mirror.news(job, pack_news(news, started), passing=news.kind == "progress")

    async def reserve(self, key: JobKey | None) -> tuple[str, int]:
        """The id and token under which to accept a job here, with or without a key. Raises KeyInUse where another
        gateway accepted the key's job meanwhile."""
        job_id = new_job_id()
        if self._mirror is not None and key is not None:
            with suppress(Unavailable):
                return await self._mirror.reserve(key, job_id)
        return job_id, FIRST_TOKEN

    async def by_key(self, key: JobKey) -> JobNow | None:
        """The job that was accepted under that key; None while the mirror cannot be reached."""
        with suppress(Unavailable):
            found = None if self._mirror is None else await self._mirror.by_key(key)
            return None if found is None else _now(found)
        return None

    async def own(self, job: StoredJob) -> bool:
        """Whether another gateway has taken over this job of ours."""
        return self._mirror is not None and not await self._mirror.owns(job)

    async def forget(self, jobs: Sequence[StoredJob]) -> None:
        """Remove these jobs from the mirror. Raises Unavailable."""
        if self._mirror is not None:
            await self._mirror.forget(jobs)

    async def erase(self, tenant: str, *, ours: bool = False) -> None:
        """Remove the tenant's jobs of other gateways, so that nobody takes them over; or `ours`, which this gateway
        reported or was about to take over. Raises Unavailable."""
        await self.forget([job async for job in self._listed(Filter(tenant), None, ours=ours)])

    async def get(self, job_id: str, caller: Caller) -> JobNow:
        """The job. Raises NotFound where this caller has none of that id, Unavailable."""
        return _now(await self._found(job_id, caller))

    async def cancel(self, job_id: str, caller: Caller) -> JobNow:
        """The job, which is over now. Raises NotFound, and Unavailable where its gateway does not answer."""
        now = await self.get(job_id, caller)
        if self._mirror is not None and not now.job.state.over:
            await self._mirror.ask_to_cancel(job_id)
        end = asyncio.get_running_loop().time() + CANCEL_SECONDS
        while not now.job.state.over:
            if asyncio.get_running_loop().time() > end:
                raise Unavailable("The job's gateway does not answer; whichever has it next cancels it.")
            await asyncio.sleep(LOOK_SECONDS)
            now = await self.get(job_id, caller)
        return now

    async def events(self, job_id: str, caller: Caller, after: NewsId | None) -> AsyncIterator[News | JobNow]:
        """As Tasks.events, but the job's place in the line is not known here. Ends where the job is not there any more,
        and waits while nobody can be asked."""
        place, waits = None, True
        while (found := await self._followed(job_id, caller, place)) is not None:
            for at, value in found.news:
                place, (news, _) = at, unpack_news(value)
                if after is None or news.id > after:
                    after = news.id
                    yield news
            now = _now(found)
            if now.job.state.over or (waits and now.state is JobState.QUEUED):
                yield now
            if now.job.state.over:
                return
            waits = False
            await asyncio.sleep(LOOK_SECONDS)

    async def page(self, which: Filter, limit: int, before: Place | None) -> list[JobNow]:
        """At most `limit` jobs behind that place, the latest first; none while the mirror cannot be reached."""
        found: list[StoredJob] = []
        with suppress(Unavailable):
            async for job in self._listed(which, before):
                found.append(job)
                if len(found) == limit:
                    break
            return [await self._listed_now(job) for job in found]
        return []

    async def lines(self, batch: Batch) -> dict[str, str]:
        """The jobs that lines of the batch are, by custom_id; of several of one line one that is over. Those that are
        just being taken over are among them. Raises Unavailable."""
        which = Filter(batch.tenant, batch=batch.id)
        jobs = [job async for job in self._listed(which, None, ours=None)]
        return {job.custom_id or "": job.id for job in sorted(jobs, key=lambda job: job.state.over)}

    async def _listed(
        self, which: Filter, before: Place | None, *, ours: bool | None = False
    ) -> AsyncIterator[StoredJob]:
        skip = 0
        while self._mirror is not None:
            since = float("inf") if before is None else before[0]
            page = await self._mirror.page(which, since, LISTED_AT_ONCE, skip, ours=ours)
            for job in page.jobs:
                if (before is None or job.place < before) and which.state in (None, job.state):
                    yield job
            if page.last:
                return
            skip += LISTED_AT_ONCE

    async def _listed_now(self, job: StoredJob) -> JobNow:
        """A job that runs, with its progress."""
        if self._mirror is None or job.state is not JobState.IN_PROGRESS:
            return JobNow(job)
        found = await self._mirror.find(job.id)
        return JobNow(job) if found is None else _now(found)

    async def _found(self, job_id: str, caller: Caller, after: str | None = None) -> Found:
        found = None if self._mirror is None else await self._mirror.find(job_id, after)
        if found is None:
            raise unknown_job()
        seen(found.report.job, caller)
        return found

    async def _followed(self, job_id: str, caller: Caller, place: str | None) -> Found | None:
        """The job with its news behind that place, once it can be had: where everything was forgotten it is told anew
        within a lease."""
        loop = asyncio.get_running_loop()
        end: float | None = None
        while True:
            try:
                return await self._found(job_id, caller, place)
            except Unavailable:
                end = None
            except NotFound:
                end = end or loop.time() + (0.0 if self._mirror is None else self._mirror.lease_seconds)
                if loop.time() >= end:
                    return None
            await asyncio.sleep(LOOK_SECONDS)


def _now(found: Found) -> JobNow:
    job = found.report.job
    if job.state is not JobState.IN_PROGRESS:
        return JobNow(job)
    told = [unpack_news(value) for _, value in found.news]
    news = [(one, started) for one, started in told if one.id.taking == job.taking]
    looks = [one.look for one, _ in news if one.look is not None]
    if not news:
        return JobNow(job)
    last, started = news[-1]
    return JobNow(job, None, Elsewhere(started, last.step, last.steps, looks[-1] if looks else None))
