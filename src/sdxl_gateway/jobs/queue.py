"""The bounded queue of waiting jobs, in a fair order. It has neither a clock nor a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf
from typing import TypeVar

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.jobs.line import Line
from sdxl_gateway.scheduling.demand import Demand
from sdxl_gateway.scheduling.fair_share import FairShares

LOOK_AHEAD = 8
"""How many jobs are tried until one is found that is not better off waiting."""
Placed = TypeVar("Placed")


class QueueFull(Exception):
    """No more jobs may wait."""


class TenantQueueFull(QueueFull):
    """No more jobs of this tenant may wait."""


class FairQueue:
    """Priority class first, then the tenant served least for its weight, then the one not served longest, then arrival.

    `capacity` limits waiting jobs, `tenant_capacity` those of one tenant; those admitted before count for neither.
    `lanes` is the number of images in a batch. The cost of operations grows with the tenants, not with the jobs.
    """

    def __init__(self, capacity: int, tenant_capacity: int | None = None, lanes: int = 1) -> None:
        self._capacity = capacity
        self._tenant_capacity = capacity if tenant_capacity is None else tenant_capacity
        self._lanes = lanes
        self._shares = FairShares()
        self._waiting: dict[str, Job] = {}
        self._counted: Counter[str] = Counter()
        self._lines: dict[Priority, dict[str, Line]] = {priority: {} for priority in Priority}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._waiting

    def put(self, job: Job) -> None:
        """Add to the end of its tenant's jobs. Raises QueueFull, or TenantQueueFull if only its tenant has too many."""
        if not job.admitted:
            self._refuse_if_full(job.tenant)
        self._enter(job).append(job)

    def _refuse_if_full(self, tenant: str) -> None:
        if self._counted.total() >= self._capacity:
            raise QueueFull
        if self._counted[tenant] >= self._tenant_capacity:
            raise TenantQueueFull

    def put_back(self, job: Job) -> None:
        """Add to the front, even beyond the capacity, as it had a place before; its tenant is not charged twice."""
        self._shares.refund(job.tenant, Demand.of(job.recipe).work, job.weight)
        self._enter(job).append_left(job)

    def _enter(self, job: Job) -> Line:
        self._waiting[job.id] = job
        self._counted[job.tenant] += not job.admitted
        return self._lines[job.priority].setdefault(job.tenant, Line(self._lanes))

    def take(self, may_go: Callable[[Priority], bool]) -> Job | None:
        """The next job of the classes for which `may_go` is true."""
        return self.take_first(may_go, _itself)

    def take_first(self, may_go: Callable[[Priority], bool], place: Callable[[Job], Placed | None]) -> Placed | None:
        """What `place` returns for the next job of the classes that may go, or, if that is None, for a job behind it.

        It is called for the first `LOOK_AHEAD` jobs in order; those passed by keep their places.
        """
        open_to = (lines for priority, lines in self._lines.items() if lines and may_go(priority))
        return next((placed for lines in open_to if (placed := self._take_from(lines, place)) is not None), None)

    def remove(self, job_id: str) -> Job | None:
        """Remove the job at any position; None if it is not in the queue."""
        job = self._waiting.pop(job_id, None)
        if job is None:
            return None
        lines = self._lines[job.priority]
        lines[job.tenant].remove(job)
        if not lines[job.tenant]:
            del lines[job.tenant]
        self._counted[job.tenant] -= not job.admitted
        if not self._counted[job.tenant]:
            del self._counted[job.tenant]
        return job

    @property
    def demand(self) -> Demand:
        """The total demand of all waiting jobs."""
        return sum((line.demand for lines in self._lines.values() for line in lines.values()), Demand())

    def others_than(self, tenant: str) -> int:
        """How many other tenants have jobs waiting."""
        return len(set(self._tenants()) - {tenant})

    def ahead_of(self, job: Job, cost: Callable[[Demand], float]) -> float:
        """The cost of what would be served before `job`: higher classes, its tenant's jobs, and others' fair shares.

        `cost` is additive: the cost of a sum of demands is the sum of their costs.
        """
        classes = ((priority, lines.values()) for priority, lines in self._lines.items())
        higher = sum(cost(line.demand) for priority, lines in classes if priority < job.priority for line in lines)
        lines = self._lines[job.priority]
        mine = cost(lines[job.tenant].demand) if job.tenant in lines else 0.0
        others = (line for tenant, line in lines.items() if tenant != job.tenant)
        shares = ((line, mine / job.weight * line.first.weight + cost(line.first_demand)) for line in others)
        return higher + mine + sum(min(cost(line.demand), share) for line, share in shares)

    def _take_from(self, lines: dict[str, Line], place: Callable[[Job], Placed | None]) -> Placed | None:
        self._shares.present(self._tenants())
        for job in islice(self._in_turn(lines), LOOK_AHEAD):
            placed = place(job)
            if placed is not None:
                self._shares.charge(job.tenant, Demand.of(job.recipe).work, job.weight)
                self.remove(job.id)
                return placed
        return None

    def _in_turn(self, lines: dict[str, Line]) -> Iterator[Job]:
        """The jobs in the order in which they would be taken if none was passed by."""
        shares, jobs = self._shares, {tenant: iter(line) for tenant, line in lines.items()}
        turns = [
            (shares.served(name), float(shares.turn(name)), line.first.arrived, name) for name, line in lines.items()
        ]
        heapify(turns)
        while turns:
            served, _, _, tenant = heappop(turns)
            job = next(jobs[tenant], None)
            if job is not None:
                yield job
                heappush(turns, (served + Demand.of(job.recipe).work / job.weight, inf, job.arrived, tenant))

    def _tenants(self) -> Iterator[str]:
        """The tenants with waiting jobs, once for each class."""
        return (tenant for lines in self._lines.values() for tenant in lines)


def _itself(job: Job) -> Job:
    return job
