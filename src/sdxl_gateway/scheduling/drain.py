"""Takes when jobs end, gives how long one place in the line takes to come free, by what was measured."""

from __future__ import annotations

from sdxl_gateway.scheduling.costs import Average


class Drain:
    """Seconds between the ends of two jobs while others wait; before that was seen, what a job took to paint."""

    def __init__(self) -> None:
        self._between = Average()
        self._painting = Average()
        self._last: float | None = None

    def ended(self, now: float, paint_seconds: float | None, *, others_wait: bool) -> None:
        """A job ended; `now` is any steady clock. An end that follows a pause says nothing."""
        if paint_seconds is not None:
            self._painting.add(paint_seconds)
        if self._last is not None:
            self._between.add(now - self._last)
        self._last = now if others_wait else None

    @property
    def seconds_a_job(self) -> float:
        """As measured lately; 0 before any job ended."""
        return self._between.value if self._between.count else self._painting.value
