"""Stores replies under their Idempotency-Keys, for requests that are sent again; one request per key at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sdxl_gateway.config import Idempotency
from sdxl_gateway.core.errors import Gone, KeyInUse, KeyReused
from sdxl_gateway.core.events import Kept
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.storage import idempotency_table
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.idempotency_table import ReplyRow, Scope

SWEEP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A reply as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchange(Protocol):
    """What gateways know together of keys and their replies."""

    async def claim(self, scope: Scope, fingerprint: bytes) -> KeptReply | None:
        """Claim the key for this gateway until it is released; the reply, if another gateway has answered it.

        Raises KeyInUse, KeyReused, and AnsweredElsewhere when that reply is out of reach.
        """
        ...

    async def keep(self, scope: Scope, fingerprint: bytes, reply: KeptReply) -> bool:
        """Share the reply; False when another gateway has claimed the key meanwhile, whose reply counts."""
        ...

    def release(self, scope: Scope) -> None:
        """The key is not in use any more."""
        ...

    async def erase(self, tenant: str) -> None:
        """Forget a tenant's replies. Raises Unavailable."""
        ...


class Alone:
    """The exchange of a gateway that shares nothing."""

    async def claim(self, scope: Scope, fingerprint: bytes) -> KeptReply | None:
        """As Exchange."""
        return None

    async def keep(self, scope: Scope, fingerprint: bytes, reply: KeptReply) -> bool:
        """As Exchange."""
        return True

    def release(self, scope: Scope) -> None:
        """As Exchange."""

    async def erase(self, tenant: str) -> None:
        """As Exchange."""


class KeptReplies:
    """The newest replies, within a size and an age (a core TenantStore); bodies are blobs.

    Which keys are in use is known in memory, and to `others`, who forget it soon when this process is killed: then a
    request that was running may be sent again.
    """

    kind = "idempotency"

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        settings: Idempotency,
        others: Exchange,
        *,
        clock: Callable[[], float] = time.time,
        listener: Listener = unheard,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._keep_seconds = settings.keep_seconds
        self._cap_bytes = settings.max_stored_bytes
        self._others = others
        self._clock = clock
        self._listener = listener
        self._in_use: dict[Scope, bytes] = {}

    async def find(self, scope: Scope, fingerprint: bytes) -> KeptReply | None:
        """The reply under that key. Raises KeyReused when it was to another request."""
        since = self._clock() - self._keep_seconds
        row = await self._database.run(partial(idempotency_table.find, scope=scope, since=since))
        if row is None:
            return None
        if row.fingerprint != fingerprint:
            raise reused()
        try:
            body = await asyncio.to_thread(self._blobs.read, row.blob)
        except Gone:
            return None
        self._listener(Kept("reply", "replayed"))
        return KeptReply(row.status, row.headers, body)

    async def claim(self, scope: Scope, fingerprint: bytes) -> KeptReply | None:
        """Claim the key until it is released; the reply, if another gateway has answered it.

        Raises KeyInUse, KeyReused when another request has the key, AnsweredElsewhere.
        """
        running = self._in_use.get(scope)
        if running is not None:
            raise in_use() if running == fingerprint else reused()
        self._in_use[scope] = fingerprint
        mine = False
        try:
            reply = await self._others.claim(scope, fingerprint)
            mine = reply is None
        finally:
            if not mine:
                self.release(scope)
        if reply is not None:
            self._listener(Kept("reply", "replayed"))
        return reply

    def release(self, scope: Scope) -> None:
        """The key is not in use any more."""
        self._in_use.pop(scope, None)
        self._others.release(scope)

    async def keep(self, scope: Scope, fingerprint: bytes, reply: KeptReply) -> None:
        """Store a reply; the oldest ones make room for it. Raises StorageFull."""
        if not await self._others.keep(scope, fingerprint, reply) or len(reply.body) > self._cap_bytes:
            return
        blob = await asyncio.to_thread(self._blobs.put, reply.body)
        row = ReplyRow(scope, fingerprint, reply.status, reply.headers, blob, len(reply.body), self._clock())
        try:
            gone = await self._database.run(partial(idempotency_table.keep, row=row, cap_bytes=self._cap_bytes))
        except BaseException:
            await asyncio.to_thread(self._blobs.delete, blob)
            raise
        self._listener(Kept("reply", "kept"))
        await self._delete(gone)

    async def sweeping(self) -> None:
        """Delete old replies at intervals, and first what a killed process left, until this is cancelled."""
        known = await self._database.run(idempotency_table.blobs)
        await asyncio.to_thread(self._blobs.sweep, known)
        while True:
            await self.forget_before(self._clock() - self._keep_seconds)
            await asyncio.sleep(SWEEP_SECONDS)

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's replies, without their bodies."""
        return await self._database.run(partial(idempotency_table.of_tenant, tenant=tenant))

    async def erase(self, tenant: str) -> int:
        """Delete the tenant's replies, at all gateways; how many of this gateway that were. Raises Unavailable while
        other gateways could still tell them."""
        await self._others.erase(tenant)
        return await self._delete(await self._database.run(partial(idempotency_table.erase, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete older replies; how many that were."""
        return await self._delete(await self._database.run(partial(idempotency_table.forget_before, at=unix_seconds)))

    async def _delete(self, gone: Sequence[str]) -> int:
        await asyncio.to_thread(self._blobs.delete, *gone)
        return len(gone)


def in_use() -> KeyInUse:
    """The refusal of a key whose first request still runs."""
    return KeyInUse("A request with this Idempotency-Key is still running.", param="Idempotency-Key")


def reused() -> KeyReused:
    """The refusal of a key that another request had."""
    told = "This Idempotency-Key was used for another request; a new request wants a key of its own."
    return KeyReused(told, param="Idempotency-Key")
