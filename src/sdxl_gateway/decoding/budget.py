"""Takes numbers of pixels, admits as many as may be in flight at once, roughly in order; none waits forever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

MOST_OVERTAKEN = 32
"""A request that does not fit yet may be overtaken so often by smaller ones; then all later ones wait for it."""


@dataclass(eq=False, slots=True)
class _Waiting:
    pixels: int
    overtaken: int = 0
    admitted: asyncio.Event = field(default_factory=asyncio.Event)


class PixelBudget:
    """At most `pixels` are in flight; a request for more is admitted alone."""

    def __init__(self, pixels: int) -> None:
        self._pixels = self._free = pixels
        self._queue: list[_Waiting] = []

    @property
    def in_flight(self) -> int:
        """Pixels admitted and not yet released."""
        return self._pixels - self._free

    @asynccontextmanager
    async def taken(self, pixels: int) -> AsyncIterator[None]:
        """Waits until that many are free, and releases them at the end of the context; safe to cancel at any time."""
        one = _Waiting(min(pixels, self._pixels))
        self._queue.append(one)
        self._admit()
        try:
            await one.admitted.wait()
            yield
        finally:
            self._leave(one)

    def _leave(self, one: _Waiting) -> None:
        if one.admitted.is_set():
            self._free += one.pixels
        else:
            self._queue.remove(one)
        self._admit()

    def _admit(self) -> None:
        skipped: list[_Waiting] = []
        for one in tuple(self._queue):
            if one.pixels > self._free:
                if one.overtaken >= MOST_OVERTAKEN:
                    return
                skipped.append(one)
                continue
            self._take(one, skipped)

    def _take(self, one: _Waiting, skipped: list[_Waiting]) -> None:
        self._queue.remove(one)
        self._free -= one.pixels
        one.admitted.set()
        for other in skipped:
            other.overtaken += 1
