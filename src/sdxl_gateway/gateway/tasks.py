"""Takes requests to be painted later, keeps them, and tells how they stand until long after their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from sdxl_gateway.config import Jobs
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Cancelled, NotFound, Unavailable
from sdxl_gateway.core.stored_job import FIRST_TOKEN, Ending, JobKey, JobState, Place, StoredJob
from sdxl_gateway.core.trace import Trace, current
from sdxl_gateway.gateway.fleet.jobs import JobFleet
from sdxl_gateway.gateway.job_now import JobNow, seen
from sdxl_gateway.gateway.jobs_elsewhere import OtherJobs
from sdxl_gateway.gateway.live_job import News, NewsId
from sdxl_gateway.gateway.packed import SettledAsk, pack_ask, pack_caller, pack_error
from sdxl_gateway.gateway.paint import Gateway, priority_of
from sdxl_gateway.gateway.runner import Runner, quarantined
from sdxl_gateway.pictures.scrub import scrubbed
from sdxl_gateway.shared.job_mirror import JobMirror
from sdxl_gateway.shared.order_mirror import Owing, nobody
from sdxl_gateway.storage.job_table import Filter
from sdxl_gateway.storage.jobs import FORGOTTEN_AT_ONCE, JobStore
from sdxl_gateway.storage.pages import unknown_after

LOOK_SECONDS = 1.0
"""How often the place of a queued job is looked up for its followers."""


class Tasks:
    """All stored jobs of a server (a core TenantStore); `submit` returns when the job is on the disk. `begin_trace`
    begins the traces of batches' lines.

    By `mirror` these answer for jobs of other gateways too, and `fleet` is this one's part among them; `owing` are
    those that have still to erase a tenant.
    """

    kind = JobStore.kind

    def __init__(
        self,
        settings: Jobs,
        store: JobStore,
        gateway: Gateway,
        begin_trace: Callable[[], Trace | None] = lambda: None,
        mirror: JobMirror | None = None,
        owing: Owing = nobody,
    ) -> None:
        self._settings = settings
        self._begin_trace = begin_trace
        self._store = store
        self._gateway = gateway
        self._others = OtherJobs(mirror)
        self.runner = Runner(store, lambda: self._gateway, settings.live, self._others)
        self.fleet = None if mirror is None else JobFleet(store, mirror, self, owing=owing)

    def paint_with(self, gateway: Gateway) -> None:
        """Jobs that are accepted or taken up from now on are painted by this gateway."""
        self._gateway = gateway

    async def submit(
        self,
        ask: Ask,
        caller: Caller,
        *,
        webhook_url: str | None = None,
        batch: str | None = None,
        custom_id: str | None = None,
        key: JobKey | None = None,
    ) -> StoredJob:
        """Accept the request. `webhook_url` is called when it ends, unless it names a webhook itself; by `key` the job
        can be found, once it is on the disk, for as long as the key is valid.

        Raises a Refusal when it cannot be painted, Busy, KeyInUse, StorageFull, Unavailable.
        """
        settled = await self._gateway.settled(ask, caller)
        trace = current() or self._begin_trace()
        text, pictures = pack_ask(await asyncio.to_thread(_scrubbed, settled))
        job_id, token = await self._others.reserve(key)
        job = StoredJob(
            id=job_id,
            tenant=caller.tenant,
            caller=pack_caller(caller),
            operation=ask.operation,
            model=ask.model or "",
            priority=priority_of(ask, caller),
            ask=text,
            created=self._store.clock(),
            uploads=await self._store.keep_uploads(pictures),
            batch=batch,
            custom_id=custom_id,
            webhook_url=ask.webhook_url or webhook_url,
            trace=None if trace is None else trace.header,
            token=token,
            idempotency_key=None if key is None else key.digest,
            fingerprint=None if key is None else key.fingerprint,
        )
        await self._store.add(job, self._settings.waiting_per_tenant)
        if self.fleet is not None:
            await self.fleet.tell_now()
        self.runner.wake()
        return job

    async def get(self, job_id: str, caller: Caller) -> JobNow:
        """The job as it stands, here or at another gateway. Raises NotFound when the caller has none of that id."""
        job = await self._store.find(job_id)
        return await self._others.get(job_id, caller) if job is None else await self._now(seen(job, caller))

    async def by_key(self, key: JobKey) -> JobNow | None:
        """The job that was accepted under that key, here or at another gateway, whatever was asked for."""
        since = self._store.clock() - key.seconds
        if (job := await self._store.by_key(key.digest, since)) is not None:
            return await self._now(job)
        found = await self._others.by_key(key)
        return None if found is None or found.job.created < since else found

    async def page(self, which: Filter, limit: int, after: str | None, caller: Caller) -> tuple[list[JobNow], bool]:
        """At most `limit` jobs behind the one of the id `after`, the latest first, and whether more follow.

        Raises InvalidRequest for an `after` that this caller has not.
        """
        before = None if after is None else await self._place_of(after, caller)
        jobs = await self._store.page(which, limit + 1, before)
        found = {now.job.id: now for now in await self._others.page(which, limit + 1, before)}
        found |= {job.id: JobNow(job, live=self.runner.live.get(job.id)) for job in jobs}
        listed = sorted(found.values(), key=lambda now: now.job.place, reverse=True)
        return listed[:limit], len(listed) > limit

    async def lines(self, batch: Batch) -> dict[str, str]:
        """The jobs that lines of the batch are, by custom_id. Raises Unavailable where another gateway had it before
        and nobody can be asked."""
        try:
            found = await self._others.lines(batch)
        except Unavailable:
            if batch.token > FIRST_TOKEN:
                raise
            found = {}
        return found | await self._store.lines(batch.id)

    async def cancel(self, job_id: str, caller: Caller) -> JobNow:
        """The job, which is over now; one that was over before stays as it is. Raises NotFound, Unavailable."""
        job = await self._store.find(job_id)
        if job is None or await self._others.own(seen(job, caller)):
            return await self._others.cancel(job_id, caller)
        await self.end(job_id)
        return await self.get(job_id, caller)

    async def end(self, job_id: str) -> None:
        """Cancel a job of this gateway, unless it is over."""
        ending = Ending(JobState.CANCELLED, error=pack_error(Cancelled("The job was cancelled.")))
        live = self.runner.live.get(job_id)
        await self._store.end(job_id, ending, started=None if live is None else live.started)
        self.runner.drop(job_id)
        self.runner.wake()

    def drop(self, job_id: str) -> None:
        """Stop painting this job here."""
        self.runner.drop(job_id)

    def wake(self) -> None:
        """Look for jobs to paint, now."""
        self.runner.wake()

    async def events(self, job_id: str, caller: Caller, after: NewsId | None) -> AsyncIterator[News | JobNow]:
        """What happens to the job from the news `after` on: each new place in the line as a JobNow, News while it is
        taken up, and as the last a JobNow that is over. Raises NotFound."""
        told: int | None = None
        while True:
            if (live := self.runner.live.get(job_id)) is not None:
                async for news in live.follow(after):
                    after = news.id
                    yield news
            if (job := await self._store.find(job_id)) is None:
                break
            now = await self._now(seen(job, caller))
            if now.job.state.over or now.ahead != told:
                yield now
            if now.job.state.over:
                return
            told = now.ahead
            await self._taken_up(job_id)
        async for event in self._others.events(job_id, caller, after):
            yield event

    async def recover(self) -> int:
        """Once, before anything runs: what the last server had in hand goes back into the line, but for what others
        took over. How many that were."""
        count = await self._store.recover(quarantined())
        if self.fleet is not None:
            await self.fleet.turn()
        return count

    async def running(self) -> None:
        """Paint what was accepted, until this is cancelled."""
        await self.runner.running()

    async def sharing(self) -> None:
        """Keep in step with other gateways, if there are any, until this is cancelled."""
        if self.fleet is not None:
            await self.fleet.running()

    async def forget_before(self, unix_seconds: float) -> int:
        """Deletes the jobs that were over by then; how many that were."""
        return await self._store.forget_before(unix_seconds)

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """All that is remembered of the tenant's jobs."""
        return await self._store.export(tenant)

    async def erase(self, tenant: str) -> int:
        """Deletes the tenant's jobs, also those being painted; how many that were. Raises Unavailable where others
        would know of them still."""
        async with nullcontext() if self.fleet is None else self.fleet.still:
            await self._forget(tenant)
            count = await self._store.erase(tenant)
        for job_id in [one.job.id for one in self.runner.live.values() if one.job.tenant == tenant]:
            self.runner.drop(job_id)
        return count

    async def erase_elsewhere(self, tenant: str) -> None:
        """Remove the tenant's jobs of gateways that are gone, so that nobody takes them over. Raises Unavailable."""
        await self._others.erase(tenant)

    async def _taken_up(self, job_id: str) -> None:
        """Wait until the job is live, at most until its place is to be looked up again."""
        loop = asyncio.get_running_loop()
        end = loop.time() + LOOK_SECONDS
        while job_id not in self.runner.live and (left := end - loop.time()) > 0:
            await self.runner.turned.next(left)

    async def _now(self, job: StoredJob) -> JobNow:
        live = self.runner.live.get(job.id)
        if job.state is JobState.QUEUED:
            return JobNow(job, await self._store.ahead(job))
        waits = job.state is JobState.IN_PROGRESS and (live is None or live.started is None)
        return JobNow(job, 0 if waits else None, live)

    async def _forget(self, tenant: str) -> None:
        before: Place | None = None
        while jobs := await self._store.page(Filter(tenant), FORGOTTEN_AT_ONCE, before):
            await self._others.forget(jobs)
            before = jobs[-1].place
        await self._others.erase(tenant, ours=True)

    async def _place_of(self, job_id: str, caller: Caller) -> Place:
        try:
            return (await self.get(job_id, caller)).job.place
        except NotFound:
            raise unknown_after(job_id) from None


def _scrubbed(settled: SettledAsk) -> SettledAsk:
    """With pictures whose metadata is removed. Raises InvalidImage."""
    clean = {upload.field: upload.brought(scrubbed(upload)) for upload in settled.ask.uploads}
    return replace(settled, ask=settled.ask.with_pictures(clean))
