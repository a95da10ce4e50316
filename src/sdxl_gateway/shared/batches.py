"""Keeps in Redis how all gateways' batches stand, and which of them are to be cancelled (as BatchMirror)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link

KEPT_MS = 86_400_000
"""How long what was told last stays."""
_BATCH = TypeAdapter(Batch)


class SharedBatches:
    """A BatchMirror: a value for each batch, and for each gateway a set of ids."""

    def __init__(self, link: Link, envelope: Envelope, gateway_id: str) -> None:
        self._link = link
        self._envelope = envelope
        self._id = gateway_id

    async def tell(self, batches: Sequence[Batch]) -> None:
        """As BatchMirror."""
        if batches:
            await self._link.ask(partial(self._tell, batches))

    async def find(self, batch_id: str) -> Batch | None:
        """As BatchMirror."""
        found = await self._found(batch_id)
        return None if found is None else found[1]

    async def ask_to_cancel(self, batch_id: str) -> None:
        """As BatchMirror."""
        found = await self._found(batch_id)
        if found is not None:
            await self._link.ask(partial(self._ask_to_cancel, self._link.key("batch-cancels", found[0]), batch_id))

    async def to_cancel(self) -> Sequence[str]:
        """As BatchMirror."""
        found: Any = await self._link.ask(partial(self._link.redis.smembers, self._cancels))
        return [one.decode() for one in found]

    async def is_cancelled(self, batch_id: str) -> None:
        """As BatchMirror."""
        await self._link.ask(partial(self._link.redis.srem, self._cancels, batch_id))

    async def forget(self, batch_ids: Sequence[str]) -> None:
        """As BatchMirror."""
        if batch_ids:
            await self._link.ask(partial(self._link.redis.delete, *map(self._name, batch_ids)))

    async def _tell(self, batches: Sequence[Batch]) -> None:
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for batch in batches:
                name = self._name(batch.id)
                closed = self._envelope.closed(name, [self._id, _BATCH.dump_python(batch, mode="json")])
                pipeline.set(name, closed, px=KEPT_MS)
            await pipeline.execute()

    async def _ask_to_cancel(self, name: str, batch_id: str) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.sadd(name, batch_id)
            pipeline.pexpire(name, KEPT_MS)
            await pipeline.execute()

    async def _found(self, batch_id: str) -> tuple[str, Batch] | None:
        """Whose it is, and it."""
        name = self._name(batch_id)
        closed: Any = await self._link.ask(partial(self._link.redis.get, name))
        if closed is None:
            return None
        try:
            gateway, batch = self._envelope.opened(name, closed)
        except Foreign:
            return None
        return gateway, _BATCH.validate_python(batch, strict=False)

    @property
    def _cancels(self) -> str:
        return self._link.key("batch-cancels", self._id)

    def _name(self, batch_id: str) -> str:
        return self._link.key("batch", batch_id)
