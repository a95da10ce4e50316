"""Stores in Redis the orders to all gateways, their outcomes, and which gateways there are (as OrderMirror)."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from typing import Any

from sdxl_gateway.core.order import Member, Order
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link

KEPT_MS = 7 * 86_400_000
"""All of this is kept for so long after its last report; every gateway also has its orders in its database."""


class SharedOrders:
    """An OrderMirror: a hash of orders with a random word beside it, a hash of outcomes each, a hash of gateways."""

    kept_seconds = KEPT_MS / 1000

    def __init__(self, link: Link, envelope: Envelope, gateway_id: str, clock: Callable[[], float] = time.time) -> None:
        self.gateway = gateway_id
        self._link = link
        self._envelope = envelope
        self._clock = clock

    async def look(self) -> str | None:
        """As OrderMirror."""
        name = self._link.key("gateways-seen")
        told = self._closed(name, self.gateway, [socket.gethostname(), self._clock()])
        word = (await self._link.ask(partial(self._put, name, {self.gateway: told}, self._word)))[-1]
        return None if word is None else word.decode()

    async def orders(self) -> Sequence[Order]:
        """As OrderMirror."""
        return [Order(*value) for value in (await self._read("orders")).values()]

    async def tell(self, orders: Sequence[Order]) -> None:
        """As OrderMirror."""
        name = self._link.key("orders")
        told = {one.id: self._closed(name, one.id, astuple(one)) for one in orders}
        await self._link.ask(partial(self._put, name, told, self._word, renewed=True))

    async def forget(self, order_ids: Sequence[str]) -> None:
        """As OrderMirror."""
        if order_ids:
            await self._link.ask(partial(self._link.redis.hdel, self._link.key("orders"), *order_ids))

    async def tell_outcomes(self, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
        """As OrderMirror."""
        for order_id, outcome in outcomes.items():
            name = self._link.key("order", order_id)
            told = {self.gateway: self._closed(name, self.gateway, outcome)}
            await self._link.ask(partial(self._put, name, told, self._word))

    async def outcomes(self, order_id: str) -> Mapping[str, Mapping[str, Any]]:
        """As OrderMirror."""
        return await self._read("order", order_id)

    async def done(self, order_ids: Sequence[str], gateway: str) -> Collection[str]:
        """As OrderMirror."""
        told = await self._link.ask(partial(self._outcomes_of, order_ids, gateway)) if order_ids else ()
        return {order_id for order_id, closed in zip(order_ids, told, strict=True) if closed is not None}

    async def members(self) -> Sequence[Member]:
        """As OrderMirror."""
        since = self._clock() - KEPT_MS / 1000
        found = [Member(gateway, *value) for gateway, value in (await self._read("gateways-seen")).items()]
        return [member for member in found if member.seen >= since]

    @property
    def _word(self) -> str:
        return self._link.key("orders-word")

    async def _put(self, name: str, told: Mapping[str, bytes], word: str, *, renewed: bool = False) -> list[Any]:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for field, closed in told.items():
                pipeline.hset(name, field, closed)
            pipeline.pexpire(name, KEPT_MS)
            if renewed:
                pipeline.set(word, secrets.token_hex(8), px=KEPT_MS)
            pipeline.get(word)
            return await pipeline.execute()

    async def _outcomes_of(self, order_ids: Sequence[str], gateway: str) -> list[Any]:
        async with self._link.redis.pipeline(transaction=False) as pipeline:
            for order_id in order_ids:
                pipeline.hget(self._link.key("order", order_id), gateway)
            return await pipeline.execute()

    async def _read(self, *words: str) -> dict[str, Any]:
        """The values that gateways of this fleet wrote, by their fields."""
        name, values = self._link.key(*words), dict[str, Any]()
        found: Any = await self._link.ask(partial(self._link.redis.hgetall, name))
        for field, closed in found.items():
            with suppress(Foreign):
                values[field.decode()] = self._envelope.opened(f"{name}:{field.decode()}", closed)
        return values

    def _closed(self, name: str, field: str, value: Any) -> bytes:
        return self._envelope.closed(f"{name}:{field}", value)
