"""A ResultCache that shares its results with other gateways, and finds theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

from sdxl_gateway.delivery.results import Results
from sdxl_gateway.gateway.result_cache import ResultCache
from sdxl_gateway.shared.result_mirror import ResultMirror


class FleetResults(ResultCache):
    """The ResultCache of a gateway that shares; what is not in its memory is looked up in the mirror."""

    def __init__(
        self, mirror: ResultMirror, *, max_bytes: int, seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(max_bytes=max_bytes, seconds=seconds, clock=clock)
        self._mirror = mirror
        self._forgotten_before = 0.0

    async def find(self, key: str, tenant: str) -> Results | None:
        """As ResultCache, at any gateway."""
        found = await super().find(key, tenant)
        if found is not None:
            return found
        found = await self._mirror.find(key, tenant)
        if found is None or found.at < self._forgotten_before or self.is_old(found):
            return None
        super().put(key, found)
        return found

    def put(self, key: str, results: Results) -> None:
        """As ResultCache; the others find it soon."""
        super().put(key, results)
        self._mirror.tell(key, results, self.seconds)

    async def erase(self, tenant: str) -> int:
        """As ResultCache, here and in the mirror. Raises Unavailable while others could still find them."""
        await self._mirror.erase(tenant)
        return await super().erase(tenant)

    async def forget_before(self, unix_seconds: float) -> int:
        """As ResultCache; shared results that are older are not used any more."""
        self._forgotten_before = max(self._forgotten_before, unix_seconds)
        await self._mirror.forget_before(unix_seconds)
        return await super().forget_before(unix_seconds)
