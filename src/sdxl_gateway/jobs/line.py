"""Takes one tenant's waiting jobs of one class, keeps them in their order and knows what they ask for altogether."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from sdxl_gateway.core.job import Job
from sdxl_gateway.scheduling.demand import Demand


class Line:
    """Jobs by id; any of them may leave, and none of this takes longer the more there are."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self.demand = Demand()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """In their order."""
        return iter(self._jobs.values())

    @property
    def first(self) -> Job:
        """Whose turn is next; there is one."""
        return next(iter(self._jobs.values()))

    @property
    def first_demand(self) -> Demand:
        """What it asks for."""
        return self._of(self.first)

    def append(self, job: Job) -> None:
        """To the end."""
        self._jobs[job.id] = job
        self.demand += self._of(job)

    def append_left(self, job: Job) -> None:
        """To the front."""
        self.append(job)
        self._jobs.move_to_end(job.id, last=False)

    def remove(self, job: Job) -> None:
        """Wherever it stands."""
        del self._jobs[job.id]
        self.demand -= self._of(job)

    def _of(self, job: Job) -> Demand:
        return Demand.of(job.recipe, self._lanes)
