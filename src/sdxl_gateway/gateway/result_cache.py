"""A cache, in memory, of the finished pictures of requests, given again to requests that ask for exactly the same."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from sdxl_gateway.delivery.results import Results

SWEEP_SECONDS = 600.0


class ResultCache:
    """Least recently used first out, above `max_bytes`; nothing older than `seconds` is given."""

    kind = "results"

    def __init__(self, *, max_bytes: int, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self.limit(max_bytes=max_bytes, seconds=seconds)
        self.clock = clock
        self._held: OrderedDict[str, Results] = OrderedDict()
        self.held_bytes = 0

    def limit(self, *, max_bytes: int, seconds: float) -> None:
        """Change the limits, for what comes next."""
        self._max_bytes = max_bytes
        self.seconds = seconds

    async def find(self, key: str, tenant: str) -> Results | None:
        """What was put under the tenant's key, if it is there and young enough."""
        found = self._held.get(key)
        if found is None:
            return None
        if self.is_old(found):
            self._drop([key])
            return None
        self._held.move_to_end(key)
        return found

    def put(self, key: str, results: Results) -> None:
        """Keep them, unless they are larger than the whole cache."""
        if results.size_bytes > self._max_bytes:
            return
        self._drop([key])
        self._held[key] = results
        self.held_bytes += results.size_bytes
        while self.held_bytes > self._max_bytes:
            self._drop([next(iter(self._held))])

    def is_old(self, results: Results) -> bool:
        """They are too old to be given."""
        return results.at + self.seconds <= self.clock()

    async def sweeping(self) -> None:
        """Drop what is too old, from time to time, until this is cancelled."""
        while True:
            await self.forget_before(self.clock() - self.seconds)
            await asyncio.sleep(SWEEP_SECONDS)

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """When the tenant's were painted, and what they take."""
        mine = [results for results in self._held.values() if results.tenant == tenant]
        return [{"at": results.at, "images": len(results.pictures), "bytes": results.size_bytes} for results in mine]

    async def erase(self, tenant: str) -> int:
        """The tenant's are gone; how many requests' that were."""
        return self._drop([key for key, results in self._held.items() if results.tenant == tenant])

    async def forget_before(self, unix_seconds: float) -> int:
        """As `erase`, of what was painted before."""
        return self._drop([key for key, results in self._held.items() if results.at < unix_seconds])

    def _drop(self, keys: list[str]) -> int:
        gone = [results for key in keys if (results := self._held.pop(key, None)) is not None]
        self.held_bytes -= sum(results.size_bytes for results in gone)
        return len(gone)
