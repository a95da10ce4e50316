"""Takes jobs that cannot start yet; gives them back in a fair order. Bounded, and pure: no clock, no task."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.scheduling.costs import step_work
from sdxl_gateway.scheduling.detail import detail_steps
from sdxl_gateway.scheduling.fair_share import FairShares


class QueueFull(Exception):
    """As many jobs wait as may wait."""


class TenantQueueFull(QueueFull):
    """As many jobs of this tenant wait as may wait."""


class FairQueue:
    """Priority class first, then the tenant served least for its weight, then arrival.

    `capacity` counts waiting jobs, `tenant_capacity` those of one tenant; those admitted before count for neither.
    """

    def __init__(self, capacity: int, tenant_capacity: int | None = None) -> None:
        self._capacity = capacity
        self._tenant_capacity = capacity if tenant_capacity is None else tenant_capacity
        self._shares = FairShares()
        self._queues: dict[Priority, dict[str, deque[Job]]] = {priority: {} for priority in Priority}

    def __len__(self) -> int:
        return sum(len(queue) for _, queue in self._all())

    def __contains__(self, job_id: str) -> bool:
        return any(job.id == job_id for job in self)

    def __iter__(self) -> Iterator[Job]:
        """All jobs, class by class, in no fair order."""
        return (job for _, queue in self._all() for job in queue)

    def put(self, job: Job) -> None:
        """To the end of its tenant's jobs. Raises QueueFull, or TenantQueueFull where only its tenant has too many."""
        if not job.admitted:
            self._refuse_if_full(job.tenant)
        self._queues[job.priority].setdefault(job.tenant, deque()).append(job)

    def _refuse_if_full(self, tenant: str) -> None:
        counted = [job for job in self if not job.admitted]
        if len(counted) >= self._capacity:
            raise QueueFull
        if sum(job.tenant == tenant for job in counted) >= self._tenant_capacity:
            raise TenantQueueFull

    def put_back(self, job: Job) -> None:
        """To the front, whatever the capacity: it had a place before and keeps it; its tenant is not charged twice."""
        self._shares.charge(job.tenant, -job_work(job), job.weight)
        self._queues[job.priority].setdefault(job.tenant, deque()).appendleft(job)

    def take(self, may_go: Callable[[Priority], bool]) -> Job | None:
        """The next job among the classes that may go."""
        for priority, queues in self._queues.items():
            if queues and may_go(priority):
                return self._take_from(queues)
        return None

    def remove(self, job_id: str) -> Job | None:
        """Out of the queue, wherever it stands; None when it does not."""
        for queues, queue in self._all():
            job = next((job for job in queue if job.id == job_id), None)
            if job is not None:
                queue.remove(job)
                _forget_empty(queues, job.tenant)
                return job
        return None

    def others_than(self, tenant: str) -> int:
        """How many other tenants have something waiting."""
        return len({name for queues in self._queues.values() for name in queues} - {tenant})

    def ahead_of(self, job: Job, cost: Callable[[Job], float]) -> float:
        """What is served before `job` were it to enter now: higher classes, its tenant's own, others' fair shares."""
        higher = sum(cost(other) for other in self if other.priority < job.priority)
        queues = self._queues[job.priority]
        mine = sum(map(cost, queues.get(job.tenant, ())))
        others = (queue for tenant, queue in queues.items() if tenant != job.tenant)
        shares = ((queue, mine / job.weight * queue[0].weight + cost(queue[0])) for queue in others)
        return higher + mine + sum(min(sum(map(cost, queue)), share) for queue, share in shares)

    def _take_from(self, queues: dict[str, deque[Job]]) -> Job:
        self._shares.present(tenant for queues_ in self._queues.values() for tenant in queues_)
        tenant = min(queues, key=lambda name: (self._shares.served(name), queues[name][0].arrived))
        job = queues[tenant].popleft()
        self._shares.charge(tenant, job_work(job), job.weight)
        _forget_empty(queues, tenant)
        return job

    def _all(self) -> Iterator[tuple[dict[str, deque[Job]], deque[Job]]]:
        return ((queues, queue) for queues in self._queues.values() for queue in queues.values())


def job_work(job: Job) -> float:
    """UNet rows times megapixels times steps, over all images."""
    recipe = job.recipe
    return step_work(recipe) * (recipe.denoise_steps + detail_steps(recipe)) * recipe.count


def _forget_empty(queues: dict[str, deque[Job]], tenant: str) -> None:
    if not queues[tenant]:
        del queues[tenant]
