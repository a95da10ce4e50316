"""Takes what the device is given to do, tells how long the device took for it: by its own clock, and without waiting.

A mark stands behind all work that the present stream was given so far. What lies between two marks is timed when the
device has come to the second, and told then: a step's time with the next step, mostly.
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
    """A place in the device's line of work."""

    def passed(self) -> bool:
        """The device has come to it."""

    def wait(self) -> None:
        """Until the device has come to it. Raises what became of the work before it."""

    def seconds_since(self, earlier: Any) -> float:
        """The device's, from another mark of its kind; both are passed."""


Clock = Callable[[], Mark]
"""Sets a mark behind what the present stream was given so far."""


class HostMark:
    """Of a device whose work is done when its call returns."""

    def __init__(self) -> None:
        self._at = perf_counter()

    def passed(self) -> bool:
        return True

    def wait(self) -> None:
        """It is passed."""

    def seconds_since(self, earlier: HostMark) -> float:
        return self._at - earlier._at


class EventMark:
    """An event of torch's, recorded where it is made. Who waits for it sleeps."""

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
    """By the device's own kind of event."""
    if device.type == "cuda":
        # torch leaves its constructor untyped.
        return lambda: EventMark(torch.cuda.Event(enable_timing=True, blocking=True))  # type: ignore[no-untyped-call]
    if device.type == "mps":
        return lambda: EventMark(torch.mps.Event(enable_timing=True))
    return HostMark


class Timings:
    """Spans of the device's work, each told to `measure` once it is over; from any thread."""

    def __init__(self, measure: Measure, clock: Clock = HostMark) -> None:
        self.mark = clock
        self._measure = measure
        self._open: list[tuple[Mark, Mark, Callable[[float], Measurement]]] = []
        self._lock = Lock()

    def ended(self, begun: Mark, told: Callable[[float], Measurement]) -> Mark:
        """What the device was given since `begun` is to be told, as `told` of its seconds; gives the mark behind it."""
        end = self.mark()
        with self._lock:
            self._open.append((begun, end, told))
        self.tell()
        return end

    @contextmanager
    def untold(self) -> Iterator[None]:
        """What is over when this context ends is told to nobody."""
        measure, self._measure = self._measure, lambda _: None
        try:
            yield
        finally:
            self.tell()
            self._measure = measure

    def tell(self) -> None:
        """What is over by now."""
        with self._lock:
            over = [span for span in self._open if span[1].passed()]
            self._open = [span for span in self._open if span not in over]
            for begun, end, told in over:
                self._measure(told(end.seconds_since(begun)))
