"""A device in virtual time: work takes as long as specified, runs beside the host, and waits for it are recorded.

Nothing depends on the speed of this machine; the CPU computes the results, in no virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, current_thread
from typing import Any

SECONDS = 60.0
STEPS, SIDE = "steps", "side"


@dataclass(frozen=True)
class Work:
    """Work of the device: `issued` when the host had launched it, and running from `begins` to `ends`."""

    what: str
    issued: float
    begins: float
    ends: float


class VirtualDevice:
    """`now` is the host's time. Work in a stream begins when the host has launched it and the stream is free.

    `waits` are the names of the threads that waited, `given` is all work so far; `fails` is raised to those who wait.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[str] = []
        self.given: list[Work] = []
        self.fails: Exception | None = None
        self._stream = STEPS
        self._free = {STEPS: 0.0, SIDE: 0.0}
        self._moved = Condition()

    def clock(self) -> float:
        return self.now

    def does(self, what: str, launch: float, seconds: float) -> None:
        """Work for which the host needs `launch`, and the device `seconds`."""
        self._advance(self.now + launch)
        begins = max(self._free[self._stream], self.now)
        self._free[self._stream] = begins + seconds
        self.given.append(Work(what, self.now, begins, begins + seconds))

    def charging(self, what: str, call: Callable[..., Any], launch: float, seconds: float) -> Callable[..., Any]:
        """`call`, which from now on takes this long."""

        def charged(*given: Any, **named: Any) -> Any:
            self.does(what, launch, seconds)
            return call(*given, **named)

        return charged

    def mark(self) -> VirtualMark:
        return VirtualMark(self, max(self._free[self._stream], self.now))

    @contextmanager
    def beside(self) -> Iterator[None]:
        """A current stream of its own in this context; as in torch, only for the thread that issues work."""
        self._free[SIDE] = max(self._free[SIDE], self._free[STEPS])
        self._stream = SIDE
        try:
            yield
        finally:
            self._stream = STEPS

    def wait(self, until: float) -> None:
        """The issuing thread lets time pass; other threads wait until it has."""
        self.waits.append(current_thread().name)
        if current_thread().name.startswith("finishing"):
            with self._moved:
                assert self._moved.wait_for(lambda: self.now >= until, SECONDS)
        else:
            self._advance(until)
        if self.fails is not None:
            raise self.fails

    def idle(self) -> None:
        """The host waits until all work is done."""
        self._advance(max(self._free.values()))

    def _advance(self, until: float) -> None:
        with self._moved:
            self.now = max(self.now, until)
            self._moved.notify_all()


@dataclass(frozen=True)
class VirtualMark:
    device: VirtualDevice
    at: float

    def passed(self) -> bool:
        return self.device.now >= self.at

    def wait(self) -> None:
        self.device.wait(self.at)

    def seconds_since(self, earlier: VirtualMark) -> float:
        return self.at - earlier.at


class VirtualCommands(SimpleQueue[Any]):
    """A loop's commands; waiting for one lets the device's time pass."""

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and self.empty():
            self._device.idle()
        return super().get(block, SECONDS if timeout is None else timeout)
