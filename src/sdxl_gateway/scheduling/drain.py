"""Measures how fast the queue drains: the seconds per job."""

from __future__ import annotations

from sdxl_gateway.scheduling.costs import Average


class Drain:
    """The seconds between the ends of two jobs while others wait; until that is measured, a job's painting time."""

    def __init__(self) -> None:
        self._between = Average()
        self._painting = Average()
        self._last: float | None = None

    def ended(self, now: float, paint_seconds: float | None, *, others_wait: bool) -> None:
        """Note the end of a job; `now` is of any monotonic clock. An end after a pause is ignored."""
        if paint_seconds is not None:
            self._painting.add(paint_seconds)
        if self._last is not None:
            self._between.add(now - self._last)
        self._last = now if others_wait else None

    @property
    def seconds_a_job(self) -> float:
        """The recent seconds per job; 0 before any job ended."""
        return self._between.value if self._between.count else self._painting.value
