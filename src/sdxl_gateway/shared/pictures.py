"""Keeps pictures where they are kept anyway, and copies of the latest in Redis, by which any gateway hands them out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import Gone
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.shared.envelope import Envelope, Foreign
from sdxl_gateway.shared.link import Link, SharedStateDown
from sdxl_gateway.storage.picture_folder import PictureFiles

MOST_SECONDS = 86400.0
"""A copy is kept for as long as its picture, and no longer than that."""

KEEP = """
-- KEYS: a copy, all copies by their time as "size name", how much they are together.
-- ARGV: head, bytes, how long in ms, how much there is room for, how long the last two are kept in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local size = #ARGV[2]
redis.call('HSET', KEYS[1], 'head', ARGV[1], 'bytes', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], now, size .. ' ' .. KEYS[1])
local total = redis.call('INCRBY', KEYS[3], size)
while true do
    local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    if not oldest[1] or (total <= tonumber(ARGV[4]) and oldest[2] + ARGV[5] > now) then break end
    local gone, name = string.match(oldest[1], '(%d+) (.+)')
    redis.call('ZREM', KEYS[2], oldest[1])
    redis.call('DEL', name)
    total = redis.call('DECRBY', KEYS[3], gone)
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
"""


class CopiedPictures:
    """PictureFiles that are `files`; a copy tells whose it is, until when, and is signed. Without Redis there are none.

    Every method blocks, on a thread beside the loop that asks Redis.
    """

    def __init__(self, files: PictureFiles, link: Link, envelope: Envelope, max_total_bytes: int) -> None:
        self._files = files
        self._link = link
        self._envelope = envelope
        self._max_total_bytes = max_total_bytes
        self._keep = link.redis.register_script(KEEP)

    def write(self, stored: StoredImage, data: bytes) -> None:
        """As PictureFiles; then there is a copy, where Redis takes it."""
        self._files.write(stored, data)
        kept_ms = int(min(stored.expires - stored.created, MOST_SECONDS) * 1000)
        if kept_ms <= 0 or len(data) > self._max_total_bytes:
            return
        name = self._name(stored.id)
        head = self._envelope.closed(name, [*astuple(stored), hashlib.sha256(data).hexdigest()])
        names = name, self._link.key("pictures"), self._link.key("pictures-bytes")
        asked = head, data, kept_ms, self._max_total_bytes, int(MOST_SECONDS * 1000)
        with suppress(SharedStateDown):
            self._link.ask_from_thread(partial(self._keep, names, asked))

    def read(self, stored: StoredImage) -> bytes:
        """As PictureFiles."""
        try:
            return self._files.read(stored)
        except Gone:
            copy = self._copy(stored.id, "head", "bytes")
            if copy is None or hashlib.sha256(copy[1]).hexdigest() != copy[0][-1]:
                raise
            return bytes(copy[1])

    def find(self, image_id: str) -> StoredImage | None:
        """As PictureFiles."""
        found = self._files.find(image_id)
        if found is not None:
            return found
        copy = self._copy(image_id, "head")
        return None if copy is None else StoredImage(*copy[0][:-1])

    def delete(self, pictures: Iterable[StoredImage]) -> None:
        """As PictureFiles; copies go with their time where Redis is down."""
        going = list(pictures)
        self._files.delete(going)
        if going:
            names = [self._name(stored.id) for stored in going]
            with suppress(SharedStateDown):
                self._link.ask_from_thread(partial(self._link.redis.delete, *names))

    def left_over(self, now: float) -> Iterator[tuple[str, str]]:
        """As PictureFiles."""
        return self._files.left_over(now)

    def remove(self, name: str) -> None:
        """As PictureFiles."""
        self._files.remove(name)

    def _copy(self, image_id: str, *fields: str) -> Sequence[Any] | None:
        """Its head, and what else is asked for."""
        name = self._name(image_id)
        try:
            found: Sequence[Any] = self._link.ask_from_thread(partial(self._link.redis.hmget, name, *fields))
            head, *more = found
            return None if head is None else [self._envelope.opened(name, head), *more]
        except (SharedStateDown, Foreign):
            return None

    def _name(self, image_id: str) -> str:
        return self._link.key("picture", image_id)
