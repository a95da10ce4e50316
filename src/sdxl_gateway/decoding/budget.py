"""Takes numbers of pixels, lets in as many as may be in flight at once, in their order; nobody starves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PASSES = 32
"""So many that fit into what is free may go before one that does not yet; then all wait for it."""


@dataclass(eq=False, slots=True)
class _Waiting:
    pixels: int
    passed: int = 0
    let_in: asyncio.Event = field(default_factory=asyncio.Event)


class PixelBudget:
    """At most `pixels` are in flight; whoever needs more than all of them has them alone."""

    def __init__(self, pixels: int) -> None:
        self._pixels = self._free = pixels
        self._queue: list[_Waiting] = []

    @property
    def in_flight(self) -> int:
        """Pixels let in and not yet given back."""
        return self._pixels - self._free

    @asynccontextmanager
    async def taken(self, pixels: int) -> AsyncIterator[None]:
        """Waits until there is room for so many; they are given back where the context is left, or left waiting."""
        one = _Waiting(min(pixels, self._pixels))
        self._queue.append(one)
        self._let_in()
        try:
            await one.let_in.wait()
            yield
        finally:
            self._leave(one)

    def _leave(self, one: _Waiting) -> None:
        if one.let_in.is_set():
            self._free += one.pixels
        else:
            self._queue.remove(one)
        self._let_in()

    def _let_in(self) -> None:
        before: list[_Waiting] = []
        for one in tuple(self._queue):
            if one.pixels > self._free:
                if one.passed >= PASSES:
                    return
                before.append(one)
                continue
            self._take(one, before)

    def _take(self, one: _Waiting, before: list[_Waiting]) -> None:
        self._queue.remove(one)
        self._free -= one.pixels
        one.let_in.set()
        for passed in before:
            passed.passed += 1
