"""Stores the state, owners and requests of all gateways' batches in Redis (as BatchMirror)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.shared.batch_mirror import BatchSight, Loose
from sdxl_gateway.shared.batch_scripts import CANCEL, LOOK, TAKE, TELL
from sdxl_gateway.shared.envelope import Envelope
from sdxl_gateway.shared.link import Link, SharedStateDown
from sdxl_gateway.shared.listing import LISTED_AT_ONCE, ids_behind, list_of
from sdxl_gateway.shared.outcome import OUTCOMES, Outcome
from sdxl_gateway.storage.pages import Cut

KEPT_MS = 86_400_000
"""A batch is kept for so long after it was last reported."""
JOBS_KEPT_MS = 3_600_000
"""The jobs of a finished batch are kept for so long."""
_BATCH = TypeAdapter(Batch)
_FIELDS = "by", "token", "record"


class SharedBatches:
    """A BatchMirror: for each batch a hash and its requests, for each tenant its batch ids by age, and for each gateway
    the ids of its finished batches."""

    def __init__(
        self,
        link: Link,
        envelope: Envelope,
        gateway_id: str,
        max_lines_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_lines_bytes = max_lines_bytes
        self._link = link
        self._envelope = envelope
        self._id = gateway_id
        self._clock = clock
        self._too_large: set[str] = set()
        self._tell = link.redis.register_script(TELL)
        self._cancel = link.redis.register_script(CANCEL)
        self._look = link.redis.register_script(LOOK)
        self._take = link.redis.register_script(TAKE)

    async def tell(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """As BatchMirror."""
        return await self._link.ask(partial(self._told, batches)) if batches else ()

    async def keep_lines(self, batch_id: str, lines: bytes | None) -> None:
        """As BatchMirror."""
        if lines is None:
            self._too_large.add(batch_id)
            return
        name = self._lines(batch_id)
        closed = await self._envelope.closed_bytes(name, lines)
        await self._link.ask(partial(self._link.redis.set, name, closed, px=KEPT_MS))

    async def lines_of(self, batch_id: str) -> bytes | None:
        """As BatchMirror."""
        name = self._lines(batch_id)
        closed: Any = await self._link.ask(partial(self._link.redis.get, name))
        return self._envelope.read_bytes(name, closed)

    async def has_lines(self, batch_id: str) -> bool:
        """As BatchMirror."""
        return bool(await self._link.ask(partial(self._link.redis.exists, self._lines(batch_id))))

    async def told_over(self) -> Mapping[str, float]:
        """As BatchMirror."""
        found: Any = await self._link.ask(partial(self._link.redis.hgetall, self._over))
        return {batch_id.decode(): float(since) for batch_id, since in found.items()}

    async def find(self, batch_id: str) -> Batch | None:
        """As BatchMirror."""
        (row,) = await self._link.ask(partial(self._rows, [batch_id]))
        return self._batch(batch_id, *row)

    async def listed(self, tenant: str | None, cut: Cut, *, ours: bool = False) -> AsyncIterator[Batch]:
        """As BatchMirror."""
        skip, more = 0, True
        while more:
            page = await self._link.ask(partial(self._page, tenant, cut, skip))
            chosen = [(batch_id, row) for batch_id, row in page if (row[0] == self._id.encode()) is ours]
            for batch in (self._batch(batch_id, *row) for batch_id, row in chosen):
                if batch is not None and cut.reaches((batch.created, batch.id)):
                    yield batch
            skip, more = skip + LISTED_AT_ONCE, len(page) == LISTED_AT_ONCE

    async def ask_to_cancel(self, batch_id: str) -> None:
        """As BatchMirror."""
        await self._link.ask(partial(self._cancel, [self._name(batch_id)]))

    async def look(self) -> BatchSight:
        """As BatchMirror."""
        asked = self._id, self._name(""), self._lease("")
        found = await self._link.ask(partial(self._look, [self._open], asked))
        all_of = [Loose(batch_id.decode(), gateway.decode(), int(token)) for batch_id, gateway, token in found]
        owned = {one.id: one.token for one in all_of if one.gateway == self._id}
        return BatchSight(owned, [one for one in all_of if one.gateway != self._id])

    async def take(self, loose: Loose) -> bool:
        """As BatchMirror."""
        names = self._name(loose.id), self._lease(loose.gateway)
        return bool(await self._link.ask(partial(self._take, names, (loose.gateway, loose.token, self._id))))

    async def owns(self, batch: Batch) -> bool:
        """As BatchMirror."""
        try:
            token: Any = await self._link.ask(partial(self._link.redis.hget, self._name(batch.id), "token"))
        except SharedStateDown:
            return True
        return token is None or int(token) <= batch.token

    async def has_moved(self, batch: Batch) -> bool:
        """As BatchMirror; the signed record is what counts, not the token beside it."""
        name = self._name(batch.id)
        record: Any = await self._link.ask(partial(self._link.redis.hget, name, "record"))
        value = self._envelope.read(name, record)
        return value is not None and int(value["token"]) > batch.token

    async def forget(self, batch_ids: Collection[str]) -> None:
        """As BatchMirror."""
        if batch_ids:
            await self._link.ask(partial(self._forget, list(batch_ids)))

    async def _told(self, batches: Sequence[Batch]) -> list[Outcome]:
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for batch in batches:
                names, asked = self._telling(batch)
                await self._tell(names, asked, client=pipeline)
            return [OUTCOMES[one] for one in await pipeline.execute()]

    def _telling(self, batch: Batch) -> tuple[list[str], list[Any]]:
        name, over = self._name(batch.id), batch.state.over
        if over:
            self._too_large.discard(batch.id)
        jobs = self._link.key("batch-jobs", batch.id)
        names = [name, self._lines(batch.id), self._open, *self._lists(batch.tenant), self._over, jobs]
        record = self._envelope.closed(name, _BATCH.dump_python(batch, mode="json"))
        needs = batch.lines is not None and batch.id not in self._too_large
        told = [batch.id, self._id, batch.token, record, int(over), int(needs), batch.created, KEPT_MS, self._clock()]
        return names, [*told, self._link.key("job", ""), JOBS_KEPT_MS]

    async def _page(self, tenant: str | None, cut: Cut, skip: int) -> list[tuple[str, Any]]:
        ids = await ids_behind(self._link.redis, self._list(tenant), cut, skip)
        return [*zip(ids, await self._rows(ids), strict=True)]

    async def _rows(self, batch_ids: Sequence[str]) -> list[Any]:
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for batch_id in batch_ids:
                pipeline.hmget(self._name(batch_id), *_FIELDS)
            return list(await pipeline.execute())

    async def _forget(self, batch_ids: list[str]) -> None:
        rows = await self._rows(batch_ids)
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for batch_id, row in zip(batch_ids, rows, strict=True):
                pipeline.delete(self._name(batch_id), self._lines(batch_id))
                pipeline.zrem(self._open, batch_id)
                batch = self._batch(batch_id, *row)
                for listed in () if batch is None else self._lists(batch.tenant):
                    pipeline.zrem(listed, batch_id)
            pipeline.hdel(self._over, *batch_ids)
            await pipeline.execute()

    def _batch(self, batch_id: str, _: bytes | None, token: bytes | None, record: bytes | None) -> Batch | None:
        """The batch with its current token, which a takeover may have raised since the record was written."""
        value = self._envelope.read(self._name(batch_id), record)
        if value is None or token is None:
            return None
        return replace(_BATCH.validate_python(value, strict=False), token=int(token))

    def _lists(self, tenant: str) -> tuple[str, str]:
        return self._list(None), self._list(tenant)

    def _list(self, tenant: str | None) -> str:
        return self._link.key("batches", list_of(tenant))

    @property
    def _open(self) -> str:
        return self._link.key("batches-open")

    @property
    def _over(self) -> str:
        return self._link.key("batches-over", self._id)

    def _lease(self, gateway: str) -> str:
        return self._link.key("gateway", gateway)

    def _lines(self, batch_id: str) -> str:
        return self._link.key("batch-lines", batch_id)

    def _name(self, batch_id: str) -> str:
        return self._link.key("batch", batch_id)
