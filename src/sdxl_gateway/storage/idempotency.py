"""Takes replies under the keys of who asked, gives them to who asks the same again; one request a key at a time."""

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
    """An answer as it was."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchange(Protocol):
    """What other gateways know of keys, which is told them too."""

    async def claim(self, scope: Scope, fingerprint: bytes) -> KeptReply | None:
        """The key is this gateway's until it is released, unless it was answered elsewhere: then the reply.

        Raises KeyInUse, KeyReused, and AnsweredElsewhere for a reply that cannot be had here.
        """
        ...

    async def keep(self, scope: Scope, fingerprint: bytes, reply: KeptReply) -> bool:
        """Tell the others; False where one of them has the key by now, whose reply counts."""
        ...

    def release(self, scope: Scope) -> None:
        """The key is not in use any more."""
        ...

    async def erase(self, tenant: str) -> None:
        """Forget a tenant's replies."""
        ...


class Alone:
    """The exchange of a gateway that shares with nobody."""

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
    """The newest replies, as many as there is room for, each for its time; bodies are blobs.

    Which keys are in use is known to this process and to `others`, who forget it soon when it is killed: a request that
    it was at may be made again.
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
        """What was answered under that key. Raises KeyReused where that was to something else."""
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
        """The key is in use until it is released, unless another gateway answered it: then what that said.

        Raises KeyInUse, KeyReused where the key is that of another request, AnsweredElsewhere.
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
        """Remember a reply; the oldest make room for it. Raises StorageFull."""
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
        """Forgets what is over now and then, and at the start what a killed process left; cancel to stop."""
        known = await self._database.run(idempotency_table.blobs)
        await asyncio.to_thread(self._blobs.sweep, known)
        while True:
            await self.forget_before(self._clock() - self._keep_seconds)
            await asyncio.sleep(SWEEP_SECONDS)

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """What is remembered of a tenant, without the bodies."""
        return await self._database.run(partial(idempotency_table.of_tenant, tenant=tenant))

    async def erase(self, tenant: str) -> int:
        """Forget a tenant; how many replies of this gateway that were."""
        await self._others.erase(tenant)
        return await self._delete(await self._database.run(partial(idempotency_table.erase, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """Forget what was answered before; how many replies that were."""
        return await self._delete(await self._database.run(partial(idempotency_table.forget_before, at=unix_seconds)))

    async def _delete(self, gone: Sequence[str]) -> int:
        await asyncio.to_thread(self._blobs.delete, *gone)
        return len(gone)


def in_use() -> KeyInUse:
    """Of a key whose first request runs."""
    return KeyInUse("A request with this Idempotency-Key is still running.", param="Idempotency-Key")


def reused() -> KeyReused:
    """Of a key that is another request's."""
    told = "This Idempotency-Key was used for another request; a new request wants a key of its own."
    return KeyReused(told, param="Idempotency-Key")
