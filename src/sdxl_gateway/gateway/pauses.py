"""Takes what engines report, tells which are lost, and which are held because of their machine, and since when."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sdxl_gateway.core.events import EngineLost, EngineOpened, Event, Measured
from sdxl_gateway.core.measurements import Held


class Pauses:
    """A Listener. When every engine is held for more than `unready_seconds`, the server is not ready."""

    def __init__(self, unready_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._unready_seconds = unready_seconds
        self._clock = clock
        self._engines: set[str] = set()
        self._lost: set[str] = set()
        self._held: dict[str, tuple[str, float]] = {}

    def on_event(self, event: Event) -> None:
        """Note engines that come, go, and are held."""
        match event:
            case EngineOpened(engine_id=engine_id):
                self._engines.add(engine_id)
                self._lost.discard(engine_id)
            case EngineLost(engine_id=engine_id, for_good=for_good):
                self._engines.discard(engine_id)
                (self._lost.discard if for_good else self._lost.add)(engine_id)
                self._held.pop(engine_id, None)
            case Measured(engine_id=engine_id, measurement=Held(reason=None)):
                self._held.pop(engine_id, None)
            case Measured(engine_id=engine_id, measurement=Held(reason=str(reason))):
                _, since = self._held.get(engine_id, ("", self._clock()))
                self._held[engine_id] = (reason, since)
            case _:
                pass

    @property
    def unready(self) -> bool:
        """Every engine has been held for too long."""
        long = {engine for engine, (_, since) in self._held.items() if self._clock() - since > self._unready_seconds}
        return bool(self._engines) and long >= self._engines

    @property
    def lost(self) -> tuple[str, ...]:
        """Engines whose process ended and is not there again."""
        return tuple(sorted(self._lost))

    def told(self) -> list[dict[str, Any]]:
        """What /readyz reports of each engine that is held."""
        now = self._clock()
        return [
            {"engine": engine, "reason": reason, "seconds": round(now - since, 1)}
            for engine, (reason, since) in sorted(self._held.items())
        ]
