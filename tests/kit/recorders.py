"""A Recorder without a device: each replay computes the work again, as a graph's kernels would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan

from torch import Tensor


@dataclass(eq=False)
class Replayed:
    """A recording whose output is valid until another of the same recorder is replayed."""

    recorder: FakeRecorder
    work: Callable[[], Tensor]
    output: Tensor

    def replay(self) -> None:
        for other in self.recorder.made:
            other.output.fill_(nan)
        self.recorder.replays += 1
        self.output.copy_(self.work())


@dataclass(eq=False)
class FakeRecorder:
    """`growth_bytes` is the size of each recording; `fault` is raised by the next one."""

    growth_bytes: int = 0
    fault: Exception | None = None
    made: list[Replayed] = field(default_factory=list)
    replays: int = 0
    tried: int = 0

    def record(self, work: Callable[[], Tensor]) -> Replayed:
        """As a capture, it computes nothing: the output has no values yet."""
        self.tried += 1
        if self.fault is not None:
            raise self.fault
        self.made.append(Replayed(self, work, work().fill_(nan)))
        return self.made[-1]

    def held_bytes(self) -> int:
        return self.growth_bytes * len(self.made)
