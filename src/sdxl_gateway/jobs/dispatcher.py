"""Dispatches jobs to engines, and passes on engines' reports; every job gets exactly one last event.

A job is in the queue, or assigned to an engine, or over. The dispatcher never waits: it runs on the event loop, between
awaits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from sdxl_gateway.core.errors import (
    ENGINE_CRASHED,
    Busy,
    Cancelled,
    DeadlineExceeded,
    EngineFault,
    GatewayError,
    InvalidRequest,
    LostWhilePainting,
    Unavailable,
)
from sdxl_gateway.core.events import (
    EngineEvent,
    EngineLost,
    EngineOpened,
    Failed,
    Finished,
    Held,
    JobAssigned,
    JobEvent,
    JobTakenBack,
    Measured,
    Measurement,
    MemoryHeld,
    Painted,
)
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.ipc.channel import FrameTooLarge
from sdxl_gateway.ipc.messages import Cancel, Leaving, OthersHold, Ready, Refused, Report, Submit
from sdxl_gateway.jobs.engine_slot import Assignment, EngineSlot
from sdxl_gateway.jobs.estimate import Estimate, retry_after
from sdxl_gateway.jobs.pending import PendingJobs
from sdxl_gateway.jobs.placing import Choose, Place, Placing
from sdxl_gateway.jobs.queue import FairQueue, QueueFull, TenantQueueFull
from sdxl_gateway.jobs.subscription import Subscription
from sdxl_gateway.scheduling.dispatch import Warmth, choose
from sdxl_gateway.scheduling.drain import Drain

ENGINES_A_JOB_MAY_LOSE = 2
ENGINES_A_BEGUN_JOB_MAY_LOSE = 1
"""The job may be what crashes them, so it is not given to further engines."""
WINDOW_LANES = 2


def ignore(_: EngineEvent) -> None:
    """A listener that discards all events."""


class Dispatcher:
    """Owns the queue, each engine's assigned jobs, and the followers of each job's events.

    An engine is assigned jobs up to a window of twice `max_lanes` images: enough to fill every lane and to load the
    next blends meanwhile, and few enough that the order of the queue, not of arrival at an engine, decides.
    `listener` gets engines' measurements, assignments, and when one is ready or lost; `choose` picks the engine for a
    job.
    """

    def __init__(
        self,
        *,
        queue_size: int,
        max_lanes: int,
        tenant_queue_size: int | None = None,
        listener: EngineListener = ignore,
        clock: Callable[[], float] = time.monotonic,
        choose: Choose = choose,
    ) -> None:
        self.slots: list[EngineSlot] = []
        self.estimate = Estimate(max_lanes)
        self._queue = FairQueue(queue_size, tenant_queue_size, max_lanes)
        self._window_images = WINDOW_LANES * max_lanes
        self._listener = listener
        self._pending = PendingJobs(self._too_late)
        self._drain = Drain()
        self._clock = clock
        self._choose = choose
        self._closed_reason: str | None = None

    # -- the callers' side

    @property
    def ready(self) -> bool:
        """Whether some engine can paint now."""
        return any(slot.ready is not None for slot in self.slots)

    @property
    def waiting(self) -> int:
        """The number of jobs that no engine has begun."""
        return len(self._pending) - self.running

    @property
    def running(self) -> int:
        """The number of jobs that an engine has begun."""
        return sum(assigned.started for slot in self.slots for assigned in slot.assigned.values())

    def submit(self, job: Job) -> Subscription:
        """Queue the job. Raises Busy if the queue is full or the job would end too late, Unavailable while drained."""
        if self._closed_reason is not None:
            raise Unavailable(self._closed_reason, retry_after_seconds=retry_after(self.estimate.restart_seconds()))
        self._refuse_if_too_late(job)
        ahead = round(self._queue.ahead_of(job, lambda demand: demand.jobs))
        self._put(job)
        subscription = Subscription(lambda: self.cancel(job.id))
        self._pending.add(job, subscription.put)
        self.dispatch()
        subscription.position = ahead + 1 if job.id in self._queue else 0
        return subscription

    def _put(self, job: Job) -> None:
        """Queue the job. Raises Busy with the seconds until a place, or one of the tenant's, is expected to be free."""
        try:
            self._queue.put(job)
        except TenantQueueFull:
            turns = 1.0 + self._queue.others_than(job.tenant)
            told = "Too many of your requests wait already; try again later."
            wait = retry_after(turns * self._drain.seconds_a_job + self._pause_seconds())
            raise Busy(told, retry_after_seconds=wait) from None
        except QueueFull:
            wait = retry_after(self._drain.seconds_a_job + self._pause_seconds())
            raise Busy("The line is full; try again later.", retry_after_seconds=wait) from None

    def cancel(self, job_id: str) -> None:
        """Cancel a job; does nothing if it is over or unknown."""
        self._end_early(job_id, Cancelled("The request was cancelled."))

    def drain(self, reason: str) -> None:
        """Fail all jobs, and refuse new ones, as no engine is expected; ends when an engine is ready after all."""
        self._closed_reason = reason
        wait = retry_after(self.estimate.restart_seconds())
        for job_id in self._pending:
            self._end_early(job_id, Unavailable(reason, retry_after_seconds=wait))

    def _too_late(self, job_id: str) -> None:
        self._end_early(job_id, DeadlineExceeded("The picture could not be painted in time."))

    def _end_early(self, job_id: str, error: GatewayError) -> None:
        if job_id not in self._pending:
            return
        self._queue.remove(job_id)
        for slot in self.slots:
            if job_id in slot.assigned:
                slot.send(Cancel(job_id))
        self._fail(job_id, error)

    def _fail(self, job_id: str, error: GatewayError) -> None:
        self._pending.end(Failed(job_id, error))

    # -- admission

    def end_seconds(self, job: Job) -> float:
        """Estimated seconds until this job would be done; 0 before anything was measured.

        All engines share the jobs ahead of it in the queue; then it goes to the one that begins it first.
        """
        placing, ahead = self._placing(), self._queue.ahead_of(job, self.estimate.seconds)
        return ahead / max(placing.engines, 1) + placing.end_seconds(job)

    @property
    def backlog_seconds(self) -> float:
        """Estimated seconds until an engine is free for a job behind all that wait and run."""
        assigned = (g for slot in self.slots for g in slot.assigned.values())
        ahead = self.estimate.seconds(self._queue.demand)
        ahead += sum(g.share_left * self.estimate.job_seconds(g.job) for g in assigned)
        ahead += sum(slot.others.seconds[-1] for slot in self.slots if slot.others.seconds)
        return ahead / max(sum(slot.ready is not None for slot in self.slots), 1) + self._pause_seconds()

    def _pause_seconds(self) -> float:
        """Seconds until one of the held engines resumes; 0 if one is not held, or none is there."""
        held = [slot.held_at for slot in self.slots if slot.ready is not None]
        since = [self._clock() - at for at in held if at is not None]
        return min(map(self.estimate.pause_seconds, since)) if since and len(since) == len(held) else 0.0

    def _refuse_if_too_late(self, job: Job) -> None:
        """Raises Busy for a job that would end too late; never if none is pending, to correct wrong estimates."""
        if not self._pending or job.admitted:
            return
        late_by = job.arrived + self.end_seconds(job) - job.deadline
        if late_by > 0:
            raise Busy("The answer would come too late; try again later.", retry_after_seconds=retry_after(late_by))

    # -- the engines' side

    def dispatch(self) -> None:
        """Assign jobs from the queue to engines that have room."""
        while (placed := self._next_place()) is not None:
            self._assign(*placed)

    def _next_place(self) -> Place | None:
        placing = self._placing()
        return self._queue.take_first(placing.has_room, placing.place)

    def _placing(self) -> Placing:
        return Placing(self.slots, self.estimate, self._choose, self._window_images, self._clock())

    def _assign(self, job: Job, slot: EngineSlot, warmth: Warmth) -> None:
        try:
            slot.send(Submit(job))
        except FrameTooLarge:
            self._fail(job.id, InvalidRequest("The request is too large to be painted."))
        else:
            slot.assigned[job.id] = Assignment(job)
            self._listener(JobAssigned(slot.engine_id, warmth))

    def on_report(self, slot: EngineSlot, report: Report) -> None:
        """Handle a report of an engine. Events of jobs that are over, or not this engine's, are dropped."""
        if isinstance(report, MemoryHeld):
            slot.note_memory(report)
        if isinstance(report, Held) and (seconds := slot.note_held(report, self._clock())):
            self.estimate.pauses.add(seconds)
        if isinstance(report, Measurement):
            for costs in (self.estimate.costs, slot.costs):
                costs.observe(report)
            self._listener(Measured(slot.engine_id, report))
        elif isinstance(report, Ready):
            self.engine_ready(slot, report)
        elif isinstance(report, JobEvent) and report.job_id in slot.assigned:
            self._follow(slot, report)
        elif isinstance(report, OthersHold):
            slot.others = report
            self.dispatch()
        elif isinstance(report, Refused) and report.job_id in slot.assigned:
            self._take_back(slot, report.job_id, "full")
        elif isinstance(report, Leaving):
            self._leaves(slot)

    def _follow(self, slot: EngineSlot, event: JobEvent) -> None:
        if isinstance(event, Finished | Failed):
            self._returned(slot, event)
            return
        slot.assigned[event.job_id].follow(event)
        self._pending.tell(event)
        if isinstance(event, Painted):
            self.dispatch()

    def _returned(self, slot: EngineSlot, last: Finished | Failed) -> None:
        del slot.assigned[last.job_id]
        painted = last.paint_seconds if isinstance(last, Finished) else None
        self._drain.ended(self._clock(), painted, others_wait=len(self._queue) > 0)
        self._pending.end(last)
        self.dispatch()

    def engine_ready(self, slot: EngineSlot, ready: Ready) -> None:
        """The slot's engine can paint from now on; new jobs are accepted again."""
        slot.ready = ready
        if slot.lost_at is not None:
            self.estimate.restarts.add(time.monotonic() - slot.lost_at)
        self._closed_reason = None
        self._listener(EngineOpened(slot.engine_id, ready.device, ready.dtype, ready.card))
        self.dispatch()

    def _leaves(self, slot: EngineSlot) -> None:
        """The engine gets no more jobs; those it has not begun return to their places in the queue."""
        slot.ready = None
        for given in reversed(list(slot.assigned.values())):
            if not given.started:
                slot.send(Cancel(given.job.id))
                self._take_back(slot, given.job.id, "leaving")
        self.dispatch()

    def _take_back(self, slot: EngineSlot, job_id: str, reason: Literal["leaving", "full"]) -> None:
        given = slot.assigned.pop(job_id)
        if job_id in self._pending:
            self._queue.put_back(given.job)
            self._listener(JobTakenBack(slot.engine_id, reason))

    def engine_lost(self, slot: EngineSlot, *, for_good: bool = False) -> None:
        """Its jobs return to their places in the queue; begun ones fail if no other engine can paint them now."""
        slot.is_lost(time.monotonic())
        assigned, slot.assigned = list(slot.assigned.values()), {}
        for lost in reversed(assigned):
            if lost.job.id in self._pending:
                self._requeue_or_fail(slot, lost)
        self.dispatch()
        self._listener(EngineLost(slot.engine_id, for_good))

    def _requeue_or_fail(self, slot: EngineSlot, lost: Assignment) -> None:
        engines_lost = self._pending.lose_engine(lost.job.id)
        if lost.started and (engines_lost > ENGINES_A_BEGUN_JOB_MAY_LOSE or not self.ready):
            wait = retry_after(self.estimate.restart_seconds())
            told = "The engine was lost while painting and is being restarted."
            self._fail(lost.job.id, LostWhilePainting(told, retry_after_seconds=wait))
        elif engines_lost > ENGINES_A_JOB_MAY_LOSE:
            self._fail(lost.job.id, EngineFault("The engine died each time it held this job.", code=ENGINE_CRASHED))
        else:
            self._queue.put_back(lost.job)
            self._listener(JobTakenBack(slot.engine_id, "lost"))
