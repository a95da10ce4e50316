"""One tenant's waiting jobs of one priority class, in order, and their total demand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from sdxl_gateway.core.job import Job
from sdxl_gateway.scheduling.demand import Demand


class Line:
    """Jobs by id; any of them can be removed, and all operations take constant time."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self.demand = Demand()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """The jobs in order."""
        return iter(self._jobs.values())

    @property
    def first(self) -> Job:
        """The next job; the line must not be empty."""
        return next(iter(self._jobs.values()))

    @property
    def first_demand(self) -> Demand:
        """The demand of the next job."""
        return self._of(self.first)

    def append(self, job: Job) -> None:
        """Add a job to the end."""
        self._jobs[job.id] = job
        self.demand += self._of(job)

    def append_left(self, job: Job) -> None:
        """Add a job to the front."""
        self.append(job)
        self._jobs.move_to_end(job.id, last=False)

    def remove(self, job: Job) -> None:
        """Remove a job at any position."""
        del self._jobs[job.id]
        self.demand -= self._of(job)

    def _of(self, job: Job) -> Demand:
        return Demand.of(job.recipe, self._lanes)
