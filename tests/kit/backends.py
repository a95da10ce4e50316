"""Listeners to a backend's engines on which tests can wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sdxl_gateway.core.events import EngineEvent, EngineOpened, Measured, StepTaken


@dataclass
class Heard:
    """Waits for a number of events that count."""

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
    """Counts steps of any engine."""

    def counts(self, event: EngineEvent) -> bool:
        return isinstance(event, Measured) and isinstance(event.measurement, StepTaken)


class EnginesOpened(Heard):
    """Counts each time that an engine becomes ready."""

    def counts(self, event: EngineEvent) -> bool:
        return isinstance(event, EngineOpened)


@dataclass
class FakeLine:
    """A queue's state, as the test sets it."""

    waiting: int = 0
    running: int = 0
    wait_seconds: float = 0.0
