"""Keeps in Redis how all gateways' batches stand, and which of them are to be cancelled (as BatchMirror)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link
from sdxl_gateway.shared.listing import LISTED_AT_ONCE, ids_behind, list_of
from sdxl_gateway.storage.pages import Cut

KEPT_MS = 86_400_000
"""How long what was told last stays."""
_BATCH = TypeAdapter(Batch)


class _Told(NamedTuple):
    """A batch, and the gateway that told of it."""

    gateway: str
    batch: Batch


class SharedBatches:
    """A BatchMirror: a value for each batch, for each tenant its ids by age, and for each gateway which of its batches
    are over, and which are to be cancelled."""

    def __init__(self, link: Link, envelope: Envelope, gateway_id: str, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._envelope = envelope
        self._id = gateway_id
        self._clock = clock

    async def tell(self, batches: Sequence[Batch]) -> None:
        """As BatchMirror."""
        if batches:
            await self._link.ask(partial(self._tell, batches))

    async def told_over(self) -> Mapping[str, float]:
        """As BatchMirror."""
        found: Any = await self._link.ask(partial(self._link.redis.hgetall, self._over))
        return {batch_id.decode(): float(since) for batch_id, since in found.items()}

    async def find(self, batch_id: str) -> Batch | None:
        """As BatchMirror."""
        found = await self._found(batch_id)
        return None if found is None else found.batch

    async def listed(self, tenant: str | None, cut: Cut) -> AsyncIterator[Batch]:
        """As BatchMirror."""
        skip, more = 0, True
        while more:
            page = await self._link.ask(partial(self._page, tenant, cut, skip))
            for told in (self._opened(batch_id, closed) for batch_id, closed in page):
                if told is not None and told.gateway != self._id and cut.reaches((told.batch.created, told.batch.id)):
                    yield told.batch
            skip, more = skip + LISTED_AT_ONCE, len(page) == LISTED_AT_ONCE

    async def ask_to_cancel(self, batch_id: str) -> None:
        """As BatchMirror."""
        found = await self._found(batch_id)
        if found is not None:
            name = self._link.key("batch-cancels", found.gateway)
            await self._link.ask(partial(self._ask_to_cancel, name, batch_id))

    async def to_cancel(self) -> Sequence[str]:
        """As BatchMirror."""
        found: Any = await self._link.ask(partial(self._link.redis.smembers, self._cancels))
        return [one.decode() for one in found]

    async def is_cancelled(self, batch_id: str) -> None:
        """As BatchMirror."""
        await self._link.ask(partial(self._link.redis.srem, self._cancels, batch_id))

    async def forget(self, batch_ids: Collection[str]) -> None:
        """As BatchMirror."""
        if batch_ids:
            await self._link.ask(partial(self._forget, list(batch_ids)))

    async def _tell(self, batches: Sequence[Batch]) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for batch in batches:
                name = self._name(batch.id)
                closed = self._envelope.closed(name, [self._id, _BATCH.dump_python(batch, mode="json")])
                pipeline.set(name, closed, px=KEPT_MS)
                for listed in self._lists(batch.tenant):
                    pipeline.zadd(listed, {batch.id: batch.created})
                    pipeline.pexpire(listed, KEPT_MS)
                if batch.state.over:
                    pipeline.hset(self._over, batch.id, str(self._clock()))
                    pipeline.pexpire(self._over, KEPT_MS)
            await pipeline.execute()

    async def _page(self, tenant: str | None, cut: Cut, skip: int) -> list[tuple[str, Any]]:
        redis = self._link.redis
        ids = await ids_behind(redis, self._list(tenant), cut, skip)
        return [*zip(ids, await self._records(ids), strict=True)]

    async def _ask_to_cancel(self, name: str, batch_id: str) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.sadd(name, batch_id)
            pipeline.pexpire(name, KEPT_MS)
            await pipeline.execute()

    async def _found(self, batch_id: str) -> _Told | None:
        return self._opened(batch_id, await self._link.ask(partial(self._link.redis.get, self._name(batch_id))))

    def _opened(self, batch_id: str, closed: Any) -> _Told | None:
        if closed is None:
            return None
        try:
            gateway, batch = self._envelope.opened(self._name(batch_id), closed)
        except Foreign:
            return None
        return _Told(gateway, _BATCH.validate_python(batch, strict=False))

    async def _records(self, batch_ids: list[str]) -> list[Any]:
        found: Any = await self._link.redis.mget([self._name(one) for one in batch_ids]) if batch_ids else []
        return list(found)

    async def _forget(self, batch_ids: list[str]) -> None:
        records = await self._records(batch_ids)
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for batch_id, closed in zip(batch_ids, records, strict=True):
                pipeline.delete(self._name(batch_id))
                told = self._opened(batch_id, closed)
                for listed in () if told is None else self._lists(told.batch.tenant):
                    pipeline.zrem(listed, batch_id)
            pipeline.hdel(self._over, *batch_ids)
            await pipeline.execute()

    def _lists(self, tenant: str) -> tuple[str, str]:
        return self._list(None), self._list(tenant)

    def _list(self, tenant: str | None) -> str:
        return self._link.key("batches", list_of(tenant))

    @property
    def _over(self) -> str:
        return self._link.key("batches-over", self._id)

    @property
    def _cancels(self) -> str:
        return self._link.key("batch-cancels", self._id)

    def _name(self, batch_id: str) -> str:
        return self._link.key("batch", batch_id)
