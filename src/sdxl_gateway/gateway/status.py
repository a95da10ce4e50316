"""Takes what happens to engines and jobs, gives the state of the server at this moment, for its operators."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sdxl_gateway.core.events import (
    EngineLost,
    EngineOpened,
    Event,
    Failed,
    Finished,
    Held,
    JobAccepted,
    Measured,
    MemoryHeld,
    Started,
)
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.gateway.throughput import Throughput


@dataclass(frozen=True, slots=True)
class EngineNow:
    """One engine, as it reported last; `opened` is None while it is not running."""

    id: str
    opened: EngineOpened | None = None
    memory: MemoryHeld = field(default_factory=MemoryHeld)
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """A job that no engine has begun."""

    tenant: str
    priority: Priority


class ServerStatus:
    """A Listener. Engines are by their ids; jobs are known from when they are accepted to their end.

    `throughput` is how much was painted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.throughput = Throughput(clock)
        self._clock = clock
        self._since = clock()
        self._engines: dict[str, EngineNow] = {}
        self._waiting: dict[str, Waits] = {}
        self._names: dict[str, str] = {}

    def on_event(self, event: Event) -> None:
        """Note what happened."""
        self.throughput.on_event(event)
        match event:
            case JobAccepted():
                self._waiting[event.job_id] = Waits(event.tenant, event.priority)
                self._names |= {part.digest: part.name for part in event.recipe.blend.parts}
            case Started() | Finished() | Failed():
                self._waiting.pop(event.job_id, None)
            case EngineOpened(engine_id=engine_id):
                # What it holds it may have said before.
                self._engines[engine_id] = replace(self._now(engine_id), opened=event, held=None)
            case EngineLost(engine_id=engine_id, for_good=True):
                self._engines.pop(engine_id, None)
            case EngineLost(engine_id=engine_id):
                self._engines[engine_id] = EngineNow(engine_id)
            case Measured():
                self._measured(event)
            case _:
                pass

    def _measured(self, event: Measured) -> None:
        now = self._now(event.engine_id)
        match event.measurement:
            case MemoryHeld() as memory:
                self._engines[event.engine_id] = replace(now, memory=memory)
            case Held() as held:
                self._engines[event.engine_id] = replace(now, held=held if held.reason else None)
            case _:
                pass

    def _now(self, engine_id: str) -> EngineNow:
        return self._engines.get(engine_id, EngineNow(engine_id))

    @property
    def uptime_seconds(self) -> float:
        """Since the rooms were built."""
        return self._clock() - self._since

    @property
    def engines(self) -> list[EngineNow]:
        """Those that were there at any time and did not leave for good, by their ids."""
        return [self._engines[engine_id] for engine_id in sorted(self._engines)]

    @property
    def waiting_by_class(self) -> dict[str, int]:
        """Jobs no engine has begun, for each class."""
        counted = Counter(one.priority for one in self._waiting.values())
        return {priority.word: counted[priority] for priority in Priority}

    @property
    def waiting_by_tenant(self) -> dict[str, int]:
        """Likewise, for each tenant that has any."""
        return dict(Counter(one.tenant for one in self._waiting.values()))

    def name_of(self, digest: str) -> str | None:
        """The name under which a LoRA was last asked for; None if it never was."""
        return self._names.get(digest)
