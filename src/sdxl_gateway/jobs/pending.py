"""Passes jobs' events to their followers; the only place where a job's last event is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sdxl_gateway.core.events import Failed, Finished, JobEvent
from sdxl_gateway.core.job import Job
from sdxl_gateway.jobs.told import Told


@dataclass(slots=True)
class PendingJob:
    """A job that is not over."""

    job: Job
    tell: Callable[[JobEvent], None]
    alarm: asyncio.TimerHandle | None
    engines_lost: int = 0
    told: Told = field(default_factory=Told)


class PendingJobs:
    """All jobs that are not over. `on_deadline` gets the id of a job that is not over at its deadline."""

    def __init__(self, on_deadline: Callable[[str], None]) -> None:
        self._on_deadline = on_deadline
        self._jobs: dict[str, PendingJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[str]:
        """A snapshot of the ids, so that jobs may end during the iteration."""
        return iter(list(self._jobs))

    def add(self, job: Job, tell: Callable[[JobEvent], None]) -> None:
        """Add a job, whose events `tell` gets from now on."""
        self._jobs[job.id] = PendingJob(job, tell, self._alarm(job))

    def _alarm(self, job: Job) -> asyncio.TimerHandle | None:
        """A timer for the deadline, computed once from the wall clock, and run by the event loop's steady clock."""
        if job.deadline == float("inf"):
            return None
        in_seconds = max(job.deadline - time.time(), 0.0)
        return asyncio.get_running_loop().call_later(in_seconds, self._on_deadline, job.id)

    def lose_engine(self, job_id: str) -> int:
        """Count a lost engine; how many the job has lost now."""
        entry = self._jobs[job_id]
        entry.engines_lost += 1
        return entry.engines_lost

    def tell(self, event: JobEvent) -> None:
        """Pass on an event that is not the last, once; nothing happens if the job is over or unknown."""
        entry = self._jobs.get(event.job_id)
        if entry is not None and entry.told.is_news(event):
            entry.tell(event)

    def end(self, last: Finished | Failed) -> None:
        """Send the last event; nothing happens if the job is already over."""
        entry = self._jobs.pop(last.job_id, None)
        if entry is None:
            return
        if entry.alarm is not None:
            entry.alarm.cancel()
        entry.tell(last)
