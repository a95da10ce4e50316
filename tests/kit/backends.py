"""Listeners to a backend's engines that can be waited for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sdxl_gateway.core.events import EngineEvent, EngineOpened, Measured, StepTaken


@dataclass
class Heard:
    """Waits for that many events that count."""

    wanted: int
    taken: int = 0
    _all: asyncio.Event = field(default_factory=asyncio.Event)

    def counts(self, event: EngineEvent) -> bool:
        raise NotImplementedError

    def __call__(self, event: EngineEvent) -> None:
        if self.counts(event):
            self.taken += 1
            if self.taken == self.wanted:
                self._all.set()

    async def all(self) -> None:
        async with asyncio.timeout(60):
            await self._all.wait()


class StepsTaken(Heard):
    """Steps, of whatever engine."""

    def counts(self, event: EngineEvent) -> bool:
        return isinstance(event, Measured) and isinstance(event.measurement, StepTaken)


class EnginesOpened(Heard):
    """Engines that can paint, counted each time that one of them is there."""

    def counts(self, event: EngineEvent) -> bool:
        return isinstance(event, EngineOpened)


@dataclass
class FakeLine:
    """A line as it is said to be."""

    waiting: int = 0
    running: int = 0
    wait_seconds: float = 0.0
