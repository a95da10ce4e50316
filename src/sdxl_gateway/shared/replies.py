"""Shares Idempotency-Keys: one gateway paints the request, the others wait for its reply and repeat it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import AnsweredElsewhere
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link, SharedStateDown, digest_of
from sdxl_gateway.shared.reply_scripts import CLAIM, KEEP, RELEASE
from sdxl_gateway.storage.idempotency import KeptReply, in_use, reused
from sdxl_gateway.storage.idempotency_table import Scope

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
"""The keys claimed by a gateway that has not reported for so long may be claimed by others."""
RENEW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long replies are kept, how large one may be, and how large all may be together."""

    keep_seconds: float
    max_bytes: int
    max_total_bytes: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim of a key: the fingerprint of its request, and a token that no other claim has."""

    mark: bytes
    token: str


class ReplyExchange:
    """As Exchange (storage/idempotency.py); while Redis is down each gateway only knows its own keys.

    A claim is a lease under a token. A reply is only stored under the current token: if another gateway has taken the
    key over meanwhile, the late reply is not shared.
    """

    def __init__(self, link: Link, envelope: Envelope, gateway_id: str, bounds: Bounds) -> None:
        self._link = link
        self._envelope = envelope
        self._id = gateway_id
        self._bounds = bounds
        self._claims: dict[Scope, _Claim] = {}
        self._claim = link.redis.register_script(CLAIM)
        self._keep = link.redis.register_script(KEEP)
        self._release = link.redis.register_script(RELEASE)

    async def claim(self, scope: Scope, fingerprint: bytes) -> KeptReply | None:
        """As Exchange."""
        claim = self._claims[scope] = _Claim(fingerprint, secrets.token_hex(16))
        try:
            found = await self._link.ask(partial(self._claimed, scope, claim, "new"))
        except SharedStateDown:
            return None
        if found == [b"mine"]:
            return None
        del self._claims[scope]
        return await asyncio.to_thread(self._opened, scope, _reply_in(found))

    async def keep(self, scope: Scope, fingerprint: bytes, reply: KeptReply) -> bool:
        """As Exchange."""
        claim = self._claims[scope]
        told = await asyncio.to_thread(self._told, scope, reply)
        try:
            counts = bool(await self._link.ask(partial(self._kept, scope, claim, told)))
        except SharedStateDown:
            return True
        if not counts:
            log.warning("a key was taken over by another gateway meanwhile: a reply is not remembered")
        return counts

    def release(self, scope: Scope) -> None:
        """As Exchange."""
        claim = self._claims.pop(scope, None)
        if claim is not None:
            self._link.soon(partial(self._release, [self._name(scope)], [claim.token]))

    async def erase(self, tenant: str) -> None:
        """As Exchange."""
        await self._link.delete_like(self._link.key("reply", digest_of(tenant), "*"))

    async def renewing(self) -> None:
        """Renew the leases of this gateway's claims regularly, until cancelled."""
        while True:
            for scope, claim in list(self._claims.items()):
                if self._claims.get(scope) is claim:
                    with suppress(SharedStateDown):
                        await self._link.ask(partial(self._claimed, scope, claim, "renewed"))
            await asyncio.sleep(RENEW_SECONDS)

    async def _claimed(self, scope: Scope, claim: _Claim, how: str) -> Any:
        lease = int(LEASE_SECONDS * 1000)
        return await self._claim(
            [self._name(scope), self._name(scope, "body")], [claim.mark, claim.token, self._id, lease, how]
        )

    async def _kept(self, scope: Scope, claim: _Claim, told: bytes) -> Any:
        names = self._name(scope), self._name(scope, "body"), self._link.key("replies"), self._link.key("replies-bytes")
        bounds = int(self._bounds.keep_seconds * 1000), self._bounds.max_total_bytes
        return await self._keep(names, [claim.mark, claim.token, self._id, told, *bounds])

    def _name(self, scope: Scope, *more: str) -> str:
        """A key of digests, as the caller's own words may contain anything."""
        return self._link.key("reply", digest_of(scope.tenant), digest_of(scope.route, scope.key), *more)

    def _told(self, scope: Scope, reply: KeptReply) -> bytes:
        """The sealed reply; empty if it is too large to be shared."""
        if len(reply.body) > self._bounds.max_bytes:
            return b""
        return self._envelope.closed(self._name(scope), [reply.status, reply.headers, reply.body.decode()])

    def _opened(self, scope: Scope, told: bytes) -> KeptReply:
        """Raises AnsweredElsewhere if the reply cannot be read here."""
        try:
            status, headers, body = self._envelope.opened(self._name(scope), told)
        except Foreign:
            raise _elsewhere() from None
        return KeptReply(status, headers, body.encode())


def _reply_in(found: Sequence[bytes]) -> bytes:
    """The sealed reply. Raises KeyInUse, KeyReused or AnsweredElsewhere if there is none."""
    match found:
        case [b"answered", signed]:
            return signed
        case [b"running"]:
            raise in_use()
        case [b"reused"]:
            raise reused()
    raise _elsewhere()


def _elsewhere() -> AnsweredElsewhere:
    told = (
        "Another gateway answered the request of this Idempotency-Key, and has its reply alone; it may be asked again."
    )
    return AnsweredElsewhere(told, param="Idempotency-Key")
