"""A device in virtual time: it takes as long as it is told to, works beside the host, and counts who waits for it.

Nothing here depends on how fast this machine is; what is computed is computed by the CPU, in no time.
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
    """What the device was given: `issued` when the host had launched it, on the device from `begins` to `ends`."""

    what: str
    issued: float
    begins: float
    ends: float


class VirtualDevice:
    """`now` is the host's time. Work given to a stream begins when the host has launched it and the stream is free.

    `waits` are the names of the threads that waited, `given` is all work so far; whoever waits hears what `fails`.
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
        """The host spends `launch` on it, the device `seconds`."""
        self._advance(self.now + launch)
        begins = max(self._free[self._stream], self.now)
        self._free[self._stream] = begins + seconds
        self.given.append(Work(what, self.now, begins, begins + seconds))

    def charging(self, what: str, call: Callable[..., Any], launch: float, seconds: float) -> Callable[..., Any]:
        """`call`, which takes so long from now on."""

        def charged(*given: Any, **named: Any) -> Any:
            self.does(what, launch, seconds)
            return call(*given, **named)

        return charged

    def mark(self) -> VirtualMark:
        return VirtualMark(self, max(self._free[self._stream], self.now))

    @contextmanager
    def beside(self) -> Iterator[None]:
        """A stream of its own, as torch's are: only the thread that issues work uses it."""
        self._free[SIDE] = max(self._free[SIDE], self._free[STEPS])
        self._stream = SIDE
        try:
            yield
        finally:
            self._stream = STEPS

    def wait(self, until: float) -> None:
        """The thread that issues makes time pass; others wait for it to do so."""
        self.waits.append(current_thread().name)
        if current_thread().name.startswith("finishing"):
            with self._moved:
                assert self._moved.wait_for(lambda: self.now >= until, SECONDS)
        else:
            self._advance(until)
        if self.fails is not None:
            raise self.fails

    def idle(self) -> None:
        """The host has nothing to do until all is done."""
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
    """A loop's commands; whoever waits for one lets the device's time pass."""

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and self.empty():
            self._device.idle()
        return super().get(block, SECONDS if timeout is None else timeout)
