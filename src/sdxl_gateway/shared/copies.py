"""Keeps copies of the latest of something in Redis, together no more than a bound."""

from __future__ import annotations

from sdxl_gateway.shared.link import Link
from sdxl_gateway.shared.room_script import MAKE_ROOM

MOST_SECONDS = 86400.0
"""A copy is kept for as long as what it is of, and no longer than that."""

KEEP = f"""{MAKE_ROOM}
-- KEYS: a copy, all copies by their time, how much they are together.
-- ARGV: head, bytes, how long in ms, how much there is room for, how long the last two are kept in ms.
redis.call('HSET', KEYS[1], 'head', ARGV[1], 'bytes', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
make_room(KEYS[2], KEYS[3], KEYS[1], #ARGV[2], ARGV[4], ARGV[5])
"""


class Copies:
    """Each is a hash of `head` and `bytes`, which whoever keeps it signs; where there is no room the oldest go.

    `room` is the name of what they share: of those of another one nothing is known.
    """

    def __init__(self, link: Link, room: str, max_total_bytes: int) -> None:
        self._link = link
        self._room = room
        self._max_total_bytes = max_total_bytes
        self._keep = link.redis.register_script(KEEP)

    def takes(self, size: int, seconds: float) -> bool:
        """There is room for so many bytes, and a time."""
        return seconds > 0 and size <= self._max_total_bytes

    async def keep(
        self, name: str, head: bytes, data: bytes, seconds: float, most_seconds: float = MOST_SECONDS
    ) -> None:
        """A question of Link: for so long at most, and no longer than any in this room, which is `most_seconds`."""
        names = name, self._link.key(self._room), self._link.key(f"{self._room}-bytes")
        kept_ms, most_ms = int(min(seconds, most_seconds) * 1000), int(most_seconds * 1000)
        asked = head, data, kept_ms, self._max_total_bytes, most_ms
        await self._keep(names, asked)
