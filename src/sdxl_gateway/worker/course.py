"""Reports the stages of a job for its trace, if that is sampled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.trace import StageEnded, Trace


@dataclass(slots=True)
class Course:
    """The job's "load", then "encode", "steps" and "decode" of each image, each beginning where the one before ended.

    `clock` is the loop's. These are times of the host: the device works up to a step or two later, and a decode ends
    when its picture is there.
    """

    job: Job
    tell: Callable[[StageEnded], None]
    clock: Callable[[], float]
    _since: dict[int | None, float] = field(default_factory=dict)
    _mates: dict[int | None, dict[str, Trace]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begins()

    @property
    def traced(self) -> bool:
        """Whether the trace is sampled."""
        return self.job.trace is not None and self.job.trace.sampled

    def begins(self, index: int | None = None) -> None:
        """Begin the first stage of the job, or of that image."""
        if self.traced:
            self._since[index] = self.clock()

    def ended(self, stage: str, index: int | None = None) -> None:
        """End the stage, and begin the next one."""
        if not self.traced:
            return
        to_unix, now = time.time() - time.monotonic(), self.clock()
        began = self._since.get(index, now)
        self._since[index] = now
        mates = tuple(self._mates.pop(index, {}).values())
        self.tell(StageEnded(self.job.id, stage, began + to_unix, now + to_unix, index, mates))

    def stepped_with(self, index: int, others: Iterable[Trace]) -> None:
        """Note that a step of that image was shared with these jobs."""
        if self.traced:
            mates = self._mates.setdefault(index, {})
            mates.update((other.span_id, other) for other in others if other != self.job.trace)
