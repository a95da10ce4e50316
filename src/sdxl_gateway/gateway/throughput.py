"""Takes what happens to jobs and steps, gives how much was painted and how long jobs took lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from sdxl_gateway.core.events import Event, Failed, Finished, JobAccepted, Measured, Painted, StepTaken

RECENT_SECONDS = 300.0
MOST_JOBS = 1000
"""How many of the last jobs' durations are remembered."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Of the jobs that were painted lately: how many, and within what time half and 95 % of them were."""

    jobs: int
    p50_seconds: float | None
    p95_seconds: float | None


class Throughput:
    """A Listener. `pictures` and `steps` are counted from the start on, a step once for each picture in it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.pictures = 0
        self.steps = 0
        self._clock = clock
        self._accepted: dict[str, float] = {}
        self._painted: deque[tuple[float, float]] = deque(maxlen=MOST_JOBS)

    def on_event(self, event: Event) -> None:
        """Note what happened."""
        match event:
            case JobAccepted():
                self._accepted[event.job_id] = self._clock()
            case Painted():
                self.pictures += 1
            case Measured(measurement=StepTaken(lanes=lanes)):
                self.steps += lanes
            case Finished():
                self._ended(event.job_id)
            case Failed():
                self._accepted.pop(event.job_id, None)
            case _:
                pass

    def _ended(self, job_id: str) -> None:
        now = self._clock()
        self._painted.append((now, now - self._accepted.pop(job_id, now)))

    @property
    def recent(self) -> Recent:
        """Of the last `RECENT_SECONDS`; a job's time is from when it was accepted, its wait included."""
        since = self._clock() - RECENT_SECONDS
        took = sorted(seconds for at, seconds in self._painted if at >= since)
        return Recent(len(took), _within(took, 0.5), _within(took, 0.95))


def _within(ascending: Sequence[float], share: float) -> float | None:
    return ascending[ceil(share * len(ascending)) - 1] if ascending else None
