"""Keeps notices of one kind to all gateways in Redis, by time; each gateway reads on from where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sdxl_gateway.shared.envelope import Envelope
from sdxl_gateway.shared.link import Link

OVERLAP_SECONDS = 60.0
"""How much later than its own time a notice may arrive, and is still read."""


class Notices:
    """Each notice, a JSON value, is kept for `kept_seconds`; this gateway reads it once, and again after a restart."""

    def __init__(
        self,
        link: Link,
        envelope: Envelope,
        kind: str,
        kept_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._envelope = envelope
        self._name = link.key(kind)
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._since = 0.0
        self._seen: set[bytes] = set()

    async def tell(self, value: Any) -> None:
        """Send a notice to all gateways, this one too. Raises Unavailable."""
        await self._link.ask(partial(self._add, self._envelope.closed(self._name, value)))

    async def told(self) -> Sequence[Any]:
        """The notices since the last call; at first, all that are kept. Raises Unavailable."""
        found: Any = await self._link.ask(partial(self._link.redis.zrangebyscore, self._name, self._since, "+inf"))
        new, self._seen = [one for one in found if one not in self._seen], set(found)
        self._since = self._clock() - OVERLAP_SECONDS
        values = [self._envelope.read(self._name, closed) for closed in new]
        return [value for value in values if value is not None]

    async def _add(self, closed: bytes) -> None:
        now = self._clock()
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.zadd(self._name, {closed: now})
            pipeline.zremrangebyscore(self._name, "-inf", now - self._kept_seconds)
            pipeline.pexpire(self._name, int(self._kept_seconds * 1000))
            await pipeline.execute()
