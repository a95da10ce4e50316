"""A listener to a backend's engines that can be waited for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sdxl_gateway.core.events import EngineEvent, Measured, StepTaken


@dataclass
class StepsTaken:
    """Waits for that many steps, of whatever engine."""

    wanted: int
    taken: int = 0
    _all: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: EngineEvent) -> None:
        if isinstance(event, Measured) and isinstance(event.measurement, StepTaken):
            self.taken += 1
            if self.taken == self.wanted:
                self._all.set()

    async def all(self) -> None:
        async with asyncio.timeout(30):
            await self._all.wait()
