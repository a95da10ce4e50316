"""Stores the state, events and owners of all gateways' jobs in Redis (as JobMirror)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from sdxl_gateway.core.errors import Gone
from sdxl_gateway.core.stored_job import JobKey, StoredJob
from sdxl_gateway.shared.envelope import Envelope
from sdxl_gateway.shared.job_keys import SharedJobKeys
from sdxl_gateway.shared.job_mirror import Found, JobPage, Report, Sight
from sdxl_gateway.shared.job_scripts import CANCEL, LOOK, TAKE, TELL
from sdxl_gateway.shared.link import Link, SharedStateDown
from sdxl_gateway.shared.listing import list_of
from sdxl_gateway.shared.outcome import OUTCOMES, Outcome
from sdxl_gateway.storage.job_table import Filter

KEPT_SECONDS = 86400.0
"""A job is kept for so long after it was last reported."""
NEWS_KEPT_SECONDS = 3600
MOST_NEWS = 32
"""How many events of a job are kept for later readers."""
_KEPT_MS = int(KEPT_SECONDS * 1000)
_FIELDS = "by", "token", "record"
_JOB = TypeAdapter(StoredJob)


class _News(NamedTuple):
    value: Any
    passing: bool


class SharedJobs:
    """A JobMirror: for each job a hash, its uploads and a stream of events; for each gateway a lease and its jobs."""

    kept_seconds = KEPT_SECONDS

    def __init__(
        self, link: Link, envelope: Envelope, gateway_id: str, *, lease_seconds: float, max_upload_bytes: int
    ) -> None:
        self.lease_seconds = lease_seconds
        self._link = link
        self._envelope = envelope
        self._id = gateway_id
        self._max_upload_bytes = max_upload_bytes
        self._news: defaultdict[str, list[_News]] = defaultdict(list)
        self._keys = SharedJobKeys(link, envelope, _KEPT_MS)
        self._look = link.redis.register_script(LOOK)
        self._tell = link.redis.register_script(TELL)
        self._cancel = link.redis.register_script(CANCEL)
        self._take = link.redis.register_script(TAKE)

    async def look(self) -> Sight:
        """As JobMirror."""
        names = self._lease(self._id), self._key("gateways"), self._key("job-cancels", self._id)
        asked = self._id, int(self.lease_seconds * 1000), self._lease(""), _KEPT_MS
        held, cancels, gone = await self._link.ask(partial(self._look, names, asked))
        return Sight(bool(held), [one.decode() for one in cancels], [one.decode() for one in gone])

    async def leave(self) -> None:
        """As JobMirror."""
        await self._link.ask(partial(self._link.redis.delete, self._lease(self._id)))

    async def tell(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        """As JobMirror."""
        return await self._link.ask(partial(self._told, reports)) if reports else ()

    async def keep_uploads(self, job: StoredJob, data: bytes) -> None:
        """As JobMirror."""
        if len(data) <= self._max_upload_bytes:
            name = self._key("job-uploads", job.id)
            closed = await self._envelope.closed_bytes(name, data)
            await self._link.ask(partial(self._link.redis.set, name, closed, px=_KEPT_MS))

    async def uploads_of(self, job_id: str) -> bytes:
        """As JobMirror."""
        name = self._key("job-uploads", job_id)
        closed: Any = await self._link.ask(partial(self._link.redis.get, name))
        data = self._envelope.read_bytes(name, closed)
        if data is None:
            raise Gone("The pictures that came with this job are gone.")
        return data

    def news(self, job: StoredJob, value: Any, *, passing: bool) -> None:
        """As JobMirror."""
        before = [one for one in self._news[job.id] if not (passing and one.passing)]
        self._news[job.id] = [*before, _News(value, passing)][-MOST_NEWS:]

    async def tell_news(self) -> None:
        """As JobMirror."""
        news, self._news = self._news, defaultdict(list)
        if news:
            await self._link.ask(partial(self._tell_all, news))

    async def find(self, job_id: str, after: str | None = None) -> Found | None:
        """As JobMirror."""
        row, rows = await self._link.ask(partial(self._found, job_id, after))
        report = self._report(job_id, *row)
        if report is None:
            return None
        name = self._key("job-news", job_id)
        news = [(row.decode(), self._envelope.read(name, fields[b"news"])) for row, fields in rows]
        return Found(report, [one for one in news if one[1] is not None])

    async def reserve(self, key: JobKey, job_id: str) -> tuple[str, int]:
        """As JobMirror."""
        return await self._keys.reserve(key, job_id)

    async def by_key(self, key: JobKey) -> Found | None:
        """As JobMirror; the job's signed record is what counts, not the hash of the key."""
        job_id = await self._keys.job_id(key)
        found = None if job_id is None else await self.find(job_id)
        return found if found is not None and found.report.job.idempotency_key == key.digest else None

    async def owns(self, job: StoredJob) -> bool:
        """As JobMirror."""
        name = self._key("job", job.id)
        try:
            token: Any = await self._link.ask(partial(self._link.redis.hget, name, "token"))
        except SharedStateDown:
            return True
        return token is None or int(token) <= job.token

    async def has_moved(self, job: StoredJob) -> bool:
        """As JobMirror; the signed record is what counts, not the token beside it."""
        name = self._key("job", job.id)
        record: Any = await self._link.ask(partial(self._link.redis.hget, name, "record"))
        value = self._envelope.read(name, record)
        return value is not None and int(value[0]["token"]) > job.token

    async def ask_to_cancel(self, job_id: str) -> None:
        """As JobMirror."""
        asked = job_id, self._key("job-cancels", ""), _KEPT_MS
        await self._link.ask(partial(self._cancel, [self._key("job", job_id)], asked))

    async def take_over(self, gateway: str, most: int, sparing: Collection[str] = ()) -> int:
        """As JobMirror."""
        names = self._lease(gateway), self._key("jobs-of", gateway), self._key("jobs-of", self._id)
        asked = gateway, self._id, most, self._key("job", ""), self._key("job-uploads", ""), _KEPT_MS
        spared = map(list_of, sparing)
        return int(await self._link.ask(partial(self._take, [*names, self._key("gateways")], [*asked, *spared])))

    async def owned(self) -> Mapping[str, int]:
        """As JobMirror."""
        return await self._link.ask(self._owned)

    async def page(self, which: Filter, before: float, most: int, skip: int, *, ours: bool | None = False) -> JobPage:
        """As JobMirror."""
        listed = self._list(which.tenant) if which.batch is None else self._lines(which.batch)
        found = await self._link.ask(partial(self._page, listed, before, most, skip))
        chosen = [(job_id, row) for job_id, row in found if ours in (None, row[0] == self._id.encode())]
        reports = [self._report(job_id, *row) for job_id, row in chosen]
        return JobPage([report.job for report in reports if report is not None], len(found) < most)

    async def forget(self, jobs: Sequence[StoredJob]) -> None:
        """As JobMirror."""
        if jobs:
            await self._link.ask(partial(self._forget, jobs))

    async def _told(self, reports: Sequence[Report]) -> list[Outcome]:
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for report in reports:
                names, asked = self._telling(report)
                await self._tell(names, asked, client=pipeline)
            for report in reports:
                await self._keys.remind(report.job, pipeline)
            return [OUTCOMES[one] for one in (await pipeline.execute())[: len(reports)]]

    def _telling(self, report: Report) -> tuple[list[str], list[Any]]:
        job, cancels = report.job, self._key("job-cancels", self._id)
        name, mine = self._key("job", job.id), self._key("jobs-of", self._id)
        names = [name, self._key("job-uploads", job.id), mine, cancels, *self._lists(job)]
        record = self._envelope.closed(name, [_JOB.dump_python(job, mode="json"), report.uploads_at])
        needs = job.uploads is not None and report.uploads_at is None
        stands = int(job.state.over), int(needs), job.created
        return names, [job.id, self._id, job.token, record, *stands, _KEPT_MS, list_of(job.tenant)]

    def _lists(self, job: StoredJob) -> list[str]:
        lines = [] if job.batch is None else [self._lines(job.batch)]
        return [self._list(None), self._list(job.tenant), *lines]

    def _list(self, tenant: str | None) -> str:
        """The list of a tenant's jobs, or of all."""
        return self._key("jobs", list_of(tenant))

    def _lines(self, batch_id: str) -> str:
        """The list of a batch's jobs."""
        return self._key("batch-jobs", batch_id)

    async def _tell_all(self, news: Mapping[str, Sequence[_News]]) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for job_id, told in news.items():
                name = self._key("job-news", job_id)
                for one in told:
                    pipeline.xadd(name, {"news": self._envelope.closed(name, one.value)}, maxlen=MOST_NEWS)
                pipeline.expire(name, NEWS_KEPT_SECONDS)
            await pipeline.execute()

    async def _found(self, job_id: str, after: str | None) -> Any:
        """The record, then the events: in this order, as the end of a job is reported after the events before it."""
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(self._key("job", job_id), *_FIELDS)
            pipeline.xrange(self._key("job-news", job_id), "-" if after is None else f"({after}")
            return await pipeline.execute()

    async def _owned(self) -> dict[str, int]:
        ids: Any = await self._link.redis.zrange(self._key("jobs-of", self._id), 0, -1)
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hget(self._key("job", job_id.decode()), "token")
            tokens = await pipeline.execute()
        return {job_id.decode(): int(token) for job_id, token in zip(ids, tokens, strict=True) if token is not None}

    async def _page(self, listed: str, before: float, most: int, skip: int) -> list[tuple[str, Any]]:
        ids: Any = await self._link.redis.zrevrangebyscore(listed, before, "-inf", start=skip, num=most)
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hmget(self._key("job", job_id.decode()), *_FIELDS)
            return list(zip([job_id.decode() for job_id in ids], await pipeline.execute(), strict=True))

    async def _forget(self, jobs: Sequence[StoredJob]) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for job in jobs:
                names = (self._key(kind, job.id) for kind in ("job", "job-news", "job-uploads"))
                pipeline.delete(*names, *self._keys.names([job]))
                for name in (self._key("jobs-of", self._id), *self._lists(job)):
                    pipeline.zrem(name, job.id)
            await pipeline.execute()

    def _report(self, job_id: str, by: bytes | None, token: bytes | None, record: bytes | None) -> Report | None:
        """The report with its current token, which a takeover may have raised since the record was written."""
        value = self._envelope.read(self._key("job", job_id), record)
        if token is None or value is None:
            return None
        job = replace(_JOB.validate_python(value[0], strict=False), token=int(token))
        return Report(job, value[1])

    def _lease(self, gateway: str) -> str:
        return self._key("gateway", gateway)

    def _key(self, *words: str) -> str:
        return self._link.key(*words)
