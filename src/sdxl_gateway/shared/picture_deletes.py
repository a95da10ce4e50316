"""Keeps in Redis which pictures are to be deleted at the gateway that has them (as PictureMirror)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link

OVERLAP_SECONDS = 60.0
"""What is asked may stand there so much later than its time says."""


class PictureDeletes:
    """A PictureMirror: one list by time of what all are asked, each for as long as a picture is kept."""

    def __init__(
        self, link: Link, envelope: Envelope, kept_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._link = link
        self._envelope = envelope
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._since = 0.0
        self._seen: set[bytes] = set()

    async def ask_to_delete(self, image_id: str, tenant: str) -> None:
        """As PictureMirror."""
        await self._link.ask(partial(self._add, self._envelope.closed(self._name, [image_id, tenant])))

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """As PictureMirror."""
        found: Any = await self._link.ask(partial(self._link.redis.zrangebyscore, self._name, self._since, "+inf"))
        new, self._seen = [one for one in found if one not in self._seen], set(found)
        self._since = self._clock() - OVERLAP_SECONDS
        wishes = list[tuple[str, str]]()
        for closed in new:
            with suppress(Foreign):
                image_id, tenant = self._envelope.opened(self._name, closed)
                wishes.append((image_id, tenant))
        return wishes

    async def _add(self, closed: bytes) -> None:
        now = self._clock()
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.zadd(self._name, {closed: now})
            pipeline.zremrangebyscore(self._name, "-inf", now - self._kept_seconds)
            pipeline.pexpire(self._name, int(self._kept_seconds * 1000))
            await pipeline.execute()

    @property
    def _name(self) -> str:
        return self._link.key("picture-deletes")
