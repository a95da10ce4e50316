"""Shares painted results for repeated requests at other gateways, in Redis or in a bucket with references in Redis."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import Gone, Unavailable
from sdxl_gateway.delivery.deliver import Encoded
from sdxl_gateway.delivery.results import Results
from sdxl_gateway.shared.copies import Copies
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link, digest_of
from sdxl_gateway.storage.objects import Objects

TOLD_AT_ONCE = 16
"""While so many are being shared no more are accepted, because each holds its pictures in memory meanwhile."""


class SharedResults:
    """A ResultMirror: for each request a value that expires. It holds the pictures or, if there are `objects`, says
    that they are stored there under the same name."""

    def __init__(
        self, link: Link, envelope: Envelope, copies: Copies, max_bytes: int, objects: Objects | None = None
    ) -> None:
        self._link = link
        self._envelope = envelope
        self._copies = copies
        self._max_bytes = max_bytes
        self._objects = objects
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, key: str, results: Results, seconds: float) -> None:
        """As ResultMirror."""
        if results.size_bytes <= self._max_bytes and len(self._telling) < TOLD_AT_ONCE:
            telling = self._link.beside(self._tell(key, results, seconds))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def find(self, key: str, tenant: str) -> Results | None:
        """As ResultMirror. Waits for Redis, and then for the bucket, no longer than Redis' timeout each."""
        place = _place(tenant, key)
        with suppress(Unavailable, TimeoutError, Gone, Foreign):
            closed: Any = await self._link.ask(partial(self._link.redis.hget, self._name(place), "bytes"))
            value = None if closed is None else await self._opened(place, closed)
            if value == [] and self._objects is not None:
                async with asyncio.timeout(self._link.timeout_seconds):
                    value = await self._opened(place, await asyncio.to_thread(self._objects.read, place))
            return await asyncio.to_thread(_results, tenant, value) if value else None
        return None

    async def erase(self, tenant: str) -> None:
        """As ResultMirror, including results that are just being shared."""
        await asyncio.gather(*self._telling)
        await self._link.delete_like(self._name(_place(tenant, "*")))
        if self._objects is not None:
            await asyncio.to_thread(self._objects.delete_below, _place(tenant))

    async def forget_before(self, unix_seconds: float) -> None:
        """As ResultMirror."""
        if self._objects is not None:
            with suppress(Unavailable):
                await asyncio.to_thread(self._objects.forget_before, unix_seconds)

    async def _tell(self, key: str, results: Results, seconds: float) -> None:
        place = _place(results.tenant, key)
        closed = await asyncio.to_thread(self._closed, place, results)
        if self._objects is not None:
            await asyncio.to_thread(self._objects.put, place, closed)
            closed = self._envelope.closed(self._name(place), [])
        await self._link.ask(partial(self._copies.keep, self._name(place), b"", closed, seconds, seconds))

    def _closed(self, place: str, results: Results) -> bytes:
        pictures = [[one.index, one.seed, base64.b64encode(one.data).decode()] for one in results.pictures]
        return self._envelope.closed(self._name(place), [results.at, results.warnings, pictures])

    async def _opened(self, place: str, closed: bytes) -> list[Any]:
        value: list[Any] = await asyncio.to_thread(self._envelope.opened, self._name(place), closed)
        return value

    def _name(self, place: str) -> str:
        return self._link.key("result", *place.split("/"))


def _place(tenant: str, *key: str) -> str:
    """A name made of a digest of the tenant's name, which may contain anything."""
    return "/".join((digest_of(tenant), *key))


def _results(tenant: str, value: list[Any]) -> Results:
    at, warnings, pictures = value
    encoded = tuple(Encoded(index, seed, base64.b64decode(data)) for index, seed, data in pictures)
    return Results(tenant, encoded, tuple(warnings), at)
