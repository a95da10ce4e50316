"""Stores accepted jobs durably, until long after their end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import Busy, Unavailable
from sdxl_gateway.core.events import Kept
from sdxl_gateway.core.limits import RETRY_AFTER_SECONDS
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.core.stored_job import Ending, Place, StoredJob
from sdxl_gateway.storage import job_outbox, job_table
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.job_outbox import Untold
from sdxl_gateway.storage.job_table import ALL, Filter, Live, Tenants
from sdxl_gateway.storage.seal import Seal

log = logging.getLogger(__name__)

OnEnd = Callable[[sqlite3.Connection, StoredJob], None]
"""Writes something else in the transaction that ends a job."""

FORGOTTEN_AT_ONCE = 1000
REWRITTEN_AT_ONCE = 100
SUSPECT_ATTEMPTS = 2
"""A job that was cut off so often is claimed alone."""
MOST_ATTEMPTS = 3
"""After so many attempts that were cut off a job fails."""


class JobStore:
    """Jobs as rows of the database (a core TenantStore), their uploads as blobs; both are durable when `add` returns.

    Prompts, results and uploads are stored as `seal` says, and given out as they came.
    """

    kind = "jobs"

    def __init__(
        self,
        database: Database,
        uploads: Blobs,
        seal: Seal | None = None,
        *,
        on_end: Sequence[OnEnd] = (),
        clock: Callable[[], float] = time.time,
        listener: Listener = unheard,
    ) -> None:
        self._database = database
        self._seal = seal or Seal()
        self._uploads = self._seal.over(uploads)
        self._on_end = tuple(on_end)
        self.clock = clock
        self._listener = listener

    async def keep_uploads(self, data: bytes) -> str | None:
        """Store the uploads of a job; their blob, None for no bytes. Raises StorageFull."""
        return await asyncio.to_thread(self._uploads.put, data) if data else None

    async def uploads_of(self, job: StoredJob) -> bytes:
        """The job's uploads. Raises Gone."""
        return b"" if job.uploads is None else await asyncio.to_thread(self._uploads.read, job.uploads)

    def address_of(self, job: StoredJob) -> str | None:
        """The address where other servers can read the job's uploads; None when they are here alone."""
        return None if job.uploads is None else self._uploads.address(job.uploads)

    async def uploads_at(self, address: str) -> bytes:
        """The uploads of another server's job. Raises Gone, Unavailable."""
        return await asyncio.to_thread(self._uploads.read_at, address)

    async def add(self, job: StoredJob, most: int) -> None:
        """Store a new job. Raises Busy when its tenant has `most` unfinished ones already, StorageFull, Unavailable."""
        try:
            await self._database.run(partial(_add, job=self._sealed(job), most=most))
        except BaseException:
            await self._drop(job.uploads)
            raise
        self._listener(Kept("job", "accepted"))

    async def find(self, job_id: str) -> StoredJob | None:
        """The job of that id."""
        job = await self._database.run(partial(job_table.find, job_id=job_id))
        return None if job is None else self._plain(job)

    async def by_key(self, key: str, since: float) -> StoredJob | None:
        """The latest job under the Idempotency-Key of that digest, created at `since` or later."""
        job = await self._database.run(partial(job_table.by_key, key=key, since=since))
        return None if job is None else self._plain(job)

    async def ahead(self, job: StoredJob) -> int:
        """How many queued jobs come before it."""
        return await self._database.run(partial(job_table.ahead, job=job))

    async def page(self, which: Filter, limit: int, before: Place | None = None) -> list[StoredJob]:
        """A page of jobs behind that place, the latest first."""
        jobs = await self._database.run(partial(job_table.page, which=which, limit=limit, before=before))
        return [self._plain(job) for job in jobs]

    async def lines(self, batch_id: str) -> dict[str, str]:
        """The ids of the jobs of a batch's lines, by custom_id."""
        return await self._database.run(partial(job_table.lines, batch_id=batch_id))

    async def claim(self, live: Sequence[Live], most: int, tenants: Tenants = ALL) -> list[StoredJob]:
        """Claim the jobs that are to be taken up now; see job_table.claim."""
        jobs = await self._database.run(
            partial(job_table.claim, live=live, most=most, suspect_attempts=SUSPECT_ATTEMPTS, tenants=tenants)
        )
        return [self._plain(job) for job in jobs]

    async def give_back(self, job_id: str, *, counted: bool) -> None:
        """Put it back into its place in the queue; see job_table.give_back."""
        await self._database.run(partial(job_table.give_back, job_id=job_id, counted=counted))

    async def end(self, job_id: str, ending: Ending, *, started: float | None = None) -> StoredJob | None:
        """End the job; None when it was finished before, or does not exist."""
        now = self.clock()
        job = await self._database.run(partial(self._end, job_id=job_id, ending=ending, now=now, started=started))
        if job is not None:
            self._listener(Kept("job", job.state.value))
            await self._drop(job.uploads)
        return job

    async def recover(self, quarantined: Ending) -> int:
        """Put back into the queue what the last server had claimed, except jobs that crashed an engine or a server too
        often. How many jobs that were."""
        jobs = await self._database.run(partial(self._recover, ending=quarantined, now=self.clock()))
        for job in jobs:
            if job.state.over:
                self._listener(Kept("job", job.state.value))
                await self._drop(job.uploads)
        with suppress(Unavailable):  # a silent store is no reason not to start
            await self.sweep_uploads()
        return len(jobs)

    async def sweep_uploads(self) -> None:
        """Delete uploads that no job refers to, as a killed server leaves them."""
        known = await self._database.run(job_table.uploads)
        await asyncio.to_thread(self._uploads.sweep, known)

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete the jobs that were finished by then; how many that were."""
        total = 0
        while found := await self._database.run(partial(job_table.forget, before=unix_seconds, most=FORGOTTEN_AT_ONCE)):
            total += found
        return total

    async def forget_texts_before(self, unix_seconds: float, without: Callable[[StoredJob], StoredJob]) -> int:
        """Store the jobs that were finished by then as `without` changes them; how many that were."""
        total = 0
        work = partial(self._forget_texts, before=unix_seconds, without=without)
        while found := await self._database.run(work):
            total += found
        return total

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's jobs, without their uploads."""
        found, before = list[dict[str, Any]](), None
        while jobs := await self.page(Filter(tenant), FORGOTTEN_AT_ONCE, before):
            found.extend(asdict(job) for job in jobs)
            before = jobs[-1].place
        return found

    async def erase(self, tenant: str) -> int:
        """Delete the tenant's jobs and their uploads; how many that were."""
        blobs = await self._database.run(partial(job_table.erase, tenant=tenant))
        await self._drop(*blobs)
        return len(blobs)

    async def untold(self, most: int) -> list[Untold]:
        """At most `most` jobs whose changes were not reported to other gateways."""
        found = await self._database.run(partial(job_outbox.untold, most=most))
        return [replace(one, job=self._plain(one.job)) for one in found]

    async def note_told(self, told: Sequence[Untold]) -> None:
        """Mark these as reported, as they stood."""
        await self._database.run(partial(job_outbox.note_told, told=told))

    async def tell_again(self, over_since: float, too_old: float) -> None:
        """Have jobs reported again; see job_outbox.tell_again."""
        await self._database.run(partial(job_outbox.tell_again, over_since=over_since, too_old=too_old))

    async def adopt(self, job: StoredJob) -> None:
        """Store a job that was taken over from another gateway. Raises StorageFull."""
        try:
            needless = await self._database.run(partial(job_outbox.adopt, job=self._sealed(job)))
        except BaseException:
            await self._drop(job.uploads)
            raise
        self._listener(Kept("job", "taken_over"))
        await self._drop(*needless)

    async def let_go(self, job_id: str) -> None:
        """Delete a job that another gateway took over; its uploads are swept later, once the other has read them."""
        await self._database.run(partial(job_outbox.let_go, job_id=job_id))
        self._listener(Kept("job", "let_go"))

    async def unknown(self, tokens: Mapping[str, int]) -> list[str]:
        """Those of these ids that are not here, or only under a lower token."""
        return await self._database.run(partial(job_outbox.unknown, tokens=tokens))

    def _forget_texts(
        self, connection: sqlite3.Connection, before: float, without: Callable[[StoredJob], StoredJob]
    ) -> int:
        jobs = job_table.with_texts(connection, before, REWRITTEN_AT_ONCE)
        for job in jobs:
            job_table.forget_texts(connection, self._sealed(without(self._plain(job))))
        return len(jobs)

    def _end(
        self, connection: sqlite3.Connection, job_id: str, ending: Ending, now: float, started: float | None = None
    ) -> StoredJob | None:
        kept = None if ending.result is None else self._seal.sealed(ending.result)
        found = job_table.end(connection, job_id, replace(ending, result=kept), now, started=started)
        if found is None:
            return None
        job = self._plain(found)
        for told in self._on_end:
            told(connection, job)
        return job

    def _recover(self, connection: sqlite3.Connection, ending: Ending, now: float) -> list[StoredJob]:
        jobs = job_table.in_progress(connection)
        return [self._recovered(connection, job, ending, now) for job in jobs]

    def _recovered(self, connection: sqlite3.Connection, job: StoredJob, ending: Ending, now: float) -> StoredJob:
        if job.attempts >= MOST_ATTEMPTS:
            return self._end(connection, job.id, ending, now) or job
        job_table.give_back(connection, job.id, counted=True)
        return job

    def _sealed(self, job: StoredJob) -> StoredJob:
        result = None if job.result is None else self._seal.sealed(job.result)
        return replace(job, ask=self._seal.sealed(job.ask), result=result)

    def _plain(self, job: StoredJob) -> StoredJob:
        result = None if job.result is None else self._seal.plain(job.result)
        return replace(job, ask=self._seal.plain(job.ask), result=result)

    async def _drop(self, *blobs: str | None) -> None:
        if there := [blob for blob in blobs if blob is not None]:
            await asyncio.to_thread(self._uploads.delete, *there)


def _add(connection: sqlite3.Connection, job: StoredJob, most: int) -> None:
    if job_table.unfinished(connection, job.tenant) >= most:
        told = f"{most} of your jobs are not done yet, which is as many as may wait."
        raise Busy(told, retry_after_seconds=RETRY_AFTER_SECONDS, code="too_many_jobs")
    job_table.insert(connection, job)
