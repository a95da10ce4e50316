"""Pauses painting while the GPU is too hot or its memory too full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from sdxl_gateway.config import Guard as Limits
from sdxl_gateway.core.measurements import Held, HeldReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """The GPU's temperature, and the share of its memory that is in use by all processes."""

    celsius: float
    memory_ratio: float


Read = Callable[[], Reading | None]


class MachineGuard:
    """Reads the GPU's state on a thread of its own; before each step the loop checks `holds`, which costs nothing.

    `read` returns None if the driver tells nothing: then painting is not paused. `tell` hears of each change, after
    `holds` has changed.
    """

    def __init__(self, limits: Limits, read: Read, tell: Callable[[Held], None]) -> None:
        self._limits = limits
        self._read = read
        self._tell = tell
        self._reason: HeldReason | None = None

    @property
    def holds(self) -> bool:
        """Whether painting is paused."""
        return self._reason is not None

    def look(self) -> None:
        """Take one reading."""
        reading = self._read()
        reason = None if reading is None else self._judged(reading)
        if reason == self._reason:
            return
        self._reason = reason
        celsius, ratio = (0.0, 0.0) if reading is None else (reading.celsius, reading.memory_ratio)
        _log(reason, celsius, ratio)
        self._tell(Held(reason, celsius, ratio))

    def watching(self, over: Event) -> None:
        """Look again and again, until it is over. A reading that fails is one that tells nothing."""
        while not over.wait(self._limits.every_seconds):
            self.look()

    def _judged(self, reading: Reading) -> HeldReason | None:
        limits = self._limits
        hot = self._above(reading.celsius, limits.max_celsius, limits.resume_celsius, "temperature")
        full = self._above(reading.memory_ratio, limits.max_memory_ratio, limits.resume_memory_ratio, "memory")
        return "temperature" if hot else "memory" if full else None

    def _above(self, value: float, limit: float, under: float, reason: HeldReason) -> bool:
        """The limits that are exceeded; one that was exceeded stays so until the value is a margin below it."""
        return limit > 0 and value > (limit - under if self._reason == reason else limit)


def _log(reason: HeldReason | None, celsius: float, memory_ratio: float) -> None:
    now = f"{celsius:g} degrees Celsius, {memory_ratio:.0%} of its memory in use"
    if reason is None:
        log.warning("the GPU goes on: %s", now)
    else:
        log.warning("the GPU takes no steps, for its %s: %s", reason, now)
