"""Takes marks around work issued to the device, reports how long it took, by the device's clock and without waiting.

A mark is recorded behind all work issued to the current stream so far. The span between two marks is measured and
reported once the device has passed the second: a step's time is mostly reported with the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter
from typing import Any, Protocol

import torch

from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.ports import Measure


class Mark(Protocol):
    """A position in the device's queue of work."""

    def passed(self) -> bool:
        """The device has reached it."""

    def wait(self) -> None:
        """Block until the device has reached it. Raises errors of the work before it."""

    def seconds_since(self, earlier: Any) -> float:
        """Device time from an `earlier` mark of the same kind; both must be passed."""


Clock = Callable[[], Mark]
"""Records a mark behind the work issued to the current stream so far."""


class HostMark:
    """For a synchronous device, whose work is done when the call returns."""

    def __init__(self) -> None:
        self._at = perf_counter()

    def passed(self) -> bool:
        return True

    def wait(self) -> None:
        """It is passed when it is made."""

    def seconds_since(self, earlier: HostMark) -> float:
        return self._at - earlier._at


class EventMark:
    """A CUDA or MPS event, recorded when the mark is made. Waiting for it sleeps rather than spins."""

    def __init__(self, event: Any) -> None:
        self._event = event
        event.record()

    def passed(self) -> bool:
        return bool(self._event.query())

    def wait(self) -> None:
        self._event.synchronize()

    def seconds_since(self, earlier: EventMark) -> float:
        return float(earlier._event.elapsed_time(self._event)) / 1e3


def clock_of(device: torch.device) -> Clock:
    """Marks of the device's own kind of event."""
    if device.type == "cuda":
        # torch leaves its constructor untyped.
        return lambda: EventMark(torch.cuda.Event(enable_timing=True, blocking=True))  # type: ignore[no-untyped-call]
    if device.type == "mps":
        return lambda: EventMark(torch.mps.Event(enable_timing=True))
    return HostMark


class Timings:
    """Spans of device work, each reported to `measure` once it is over; from any thread."""

    def __init__(self, measure: Measure, clock: Clock = HostMark) -> None:
        self.mark = clock
        self._measure = measure
        self._open: list[tuple[Mark, Mark, Callable[[float], Measurement]]] = []
        self._lock = Lock()

    def ended(self, begun: Mark, measurement: Callable[[float], Measurement]) -> Mark:
        """End the span that began at `begun`, to be reported as `measurement(seconds)`; gives the mark at its end."""
        end = self.mark()
        with self._lock:
            self._open.append((begun, end, measurement))
        self.tell()
        return end

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Spans that are over by the end of this context are not reported."""
        measure, self._measure = self._measure, lambda _: None
        try:
            yield
        finally:
            self.tell()
            self._measure = measure

    def tell(self) -> None:
        """Report the spans that are over by now."""
        with self._lock:
            over = [span for span in self._open if span[1].passed()]
            self._open = [span for span in self._open if span not in over]
            for begun, end, measurement in over:
                self._measure(measurement(end.seconds_since(begun)))
