"""Keeps copies of recent data in Redis, within a limit for their total size."""

from __future__ import annotations

from sdxl_gateway.shared.link import Link
from sdxl_gateway.shared.room_script import MAKE_ROOM

MOST_SECONDS = 86400.0
"""A copy is kept for as long as its original, but no longer than this."""

KEEP = f"""{MAKE_ROOM}
-- KEYS: a copy, all copies by their time, their total size.
-- ARGV: head, bytes, the copy's retention in ms, limit of the total size, retention of the last two keys in ms.
redis.call('HSET', KEYS[1], 'head', ARGV[1], 'bytes', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
make_room(KEYS[2], KEYS[3], KEYS[1], #ARGV[2], ARGV[4], ARGV[5])
"""


class Copies:
    """Each copy is a hash of `head` and `bytes`, signed by the caller; the oldest are removed to make room.

    `room` names the group of copies that share one limit; each group is limited independently.
    """

    def __init__(self, link: Link, room: str, max_total_bytes: int) -> None:
        self._link = link
        self._room = room
        self._max_total_bytes = max_total_bytes
        self._keep = link.redis.register_script(KEEP)

    def takes(self, size: int, seconds: float) -> bool:
        """Whether a copy of this size and retention can be kept at all."""
        return seconds > 0 and size <= self._max_total_bytes

    async def keep(
        self, name: str, head: bytes, data: bytes, seconds: float, most_seconds: float = MOST_SECONDS
    ) -> None:
        """Keep a copy for `seconds`, at most `most_seconds`, the longest of this room (to be called by Link.ask)."""
        names = name, self._link.key(self._room), self._link.key(f"{self._room}-bytes")
        kept_ms, most_ms = int(min(seconds, most_seconds) * 1000), int(most_seconds * 1000)
        asked = head, data, kept_ms, self._max_total_bytes, most_ms
        await self._keep(names, asked)
