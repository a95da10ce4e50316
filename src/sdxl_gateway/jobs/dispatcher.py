"""Takes jobs in at one side and engines' reports at the other; sees to it that each job gets exactly one last event.

A job is in the line, or given to an engine, or over. The desk never waits: it runs on the event loop, between awaits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sdxl_gateway.core.errors import (
    Busy,
    Cancelled,
    DeadlineExceeded,
    EngineFault,
    GatewayError,
    InvalidRequest,
    Unavailable,
)
from sdxl_gateway.core.events import Failed, Finished, JobEvent, Measurement, MemoryHeld, Painted, Progressed, Started
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.ipc.channel import FrameTooLarge
from sdxl_gateway.ipc.messages import Cancel, Ready, Report, Submit
from sdxl_gateway.jobs.engine_slot import Assignment, EngineSlot, choose, with_room
from sdxl_gateway.jobs.estimate import Estimate, retry_after
from sdxl_gateway.jobs.queue import FairQueue, QueueFull
from sdxl_gateway.jobs.subscription import Subscription
from sdxl_gateway.scheduling.costs import Average

log = logging.getLogger(__name__)

ENGINES_A_JOB_MAY_LOSE = 2
WINDOW_LANES = 2


@dataclass(slots=True)
class PendingJob:
    """A job that is not over."""

    job: Job
    tell: Callable[[JobEvent], None]
    deadline: asyncio.TimerHandle | None = None
    engines_lost: int = 0


def ignore(_: Measurement) -> None:
    """For those who keep no measurements."""


class Dispatcher:
    """Holds the line, what each engine was given, and where each job's events go.

    An engine is given jobs up to a window of twice `max_lanes` images: enough to fill every lane and to bring the next
    blends near meanwhile, and little enough that the order of the line, not of arrival at an engine, decides.
    """

    def __init__(self, *, queue_size: int, max_lanes: int, measure: Measure = ignore) -> None:
        self.slots: list[EngineSlot] = []
        self.estimate = Estimate(max_lanes)
        self._queue = FairQueue(queue_size)
        self._window_images = WINDOW_LANES * max_lanes
        self._measure = measure
        self._pending: dict[str, PendingJob] = {}
        self._job_seconds = Average()
        self._closed_reason: str | None = None

    # -- the callers' side

    @property
    def ready(self) -> bool:
        return any(slot.ready is not None for slot in self.slots)

    @property
    def waiting(self) -> int:
        """Jobs no engine has begun."""
        return len(self._pending) - self.running

    @property
    def running(self) -> int:
        return sum(assigned.started for slot in self.slots for assigned in slot.assigned.values())

    def submit(self, job: Job) -> Subscription:
        """Raises Busy when the line is full or the answer would come too late, Unavailable when no engine will come."""
        if self._closed_reason is not None:
            raise Unavailable(self._closed_reason, retry_after_seconds=retry_after(self.estimate.restart_seconds()))
        self._refuse_if_too_late(job)
        try:
            self._queue.put(job)
        except QueueFull:
            wait = retry_after(self._job_seconds.value)
            raise Busy("The line is full; try again later.", retry_after_seconds=wait) from None
        subscription = Subscription(lambda: self.cancel(job.id))
        self._pending[job.id] = PendingJob(job, subscription.put, self._alarm(job))
        self.dispatch()
        return subscription

    def cancel(self, job_id: str) -> None:
        """A job that is over, or was never here, is left alone."""
        self._end_early(job_id, Cancelled("The request was cancelled."))

    def _alarm(self, job: Job) -> asyncio.TimerHandle | None:
        if job.deadline == float("inf"):
            return None
        late = DeadlineExceeded("The picture could not be painted in time.")
        in_seconds = max(job.deadline - time.monotonic(), 0.0)
        return asyncio.get_running_loop().call_later(in_seconds, self._end_early, job.id, late)

    def _end_early(self, job_id: str, error: GatewayError) -> None:
        if job_id not in self._pending:
            return
        self._queue.remove(job_id)
        for slot in self.slots:
            if job_id in slot.assigned:
                slot.send(Cancel(job_id))
        self._fail(job_id, error)

    def _fail(self, job_id: str, error: GatewayError) -> None:
        self._close(job_id, Failed(job_id, error))

    def _close(self, job_id: str, last: Finished | Failed) -> None:
        """The only place where a job's last event is told."""
        entry = self._pending.pop(job_id, None)
        if entry is None:
            return
        if entry.deadline is not None:
            entry.deadline.cancel()
        entry.tell(last)

    # -- admission

    def wait_seconds(self, job: Job) -> float:
        """Until an engine is free for this job, by what is measured; 0 when nothing is."""
        ahead = self._queue.ahead_of(job, self.estimate.job_seconds)
        assigned = (g for slot in self.slots for g in slot.assigned.values() if g.job.priority <= job.priority)
        ahead += sum(g.share_left * self.estimate.job_seconds(g.job) for g in assigned)
        return ahead / max(sum(slot.ready is not None for slot in self.slots), 1)

    def _refuse_if_too_late(self, job: Job) -> None:
        """An estimate may be wrong, so somebody must always be let in to correct it: an idle engine takes any job."""
        if not self._pending:
            return
        late_by = job.arrived + self.wait_seconds(job) + self.estimate.job_seconds(job) - job.deadline
        if late_by > 0:
            raise Busy("The answer would come too late; try again later.", retry_after_seconds=retry_after(late_by))

    # -- the engines' side

    def dispatch(self) -> None:
        """Jobs from the line to engines that have room."""
        while (job := self._queue.take(lambda p: bool(with_room(self.slots, p, self._window_images)))) is not None:
            slot = choose(with_room(self.slots, job.priority, self._window_images), job)
            self._give(slot, job)

    def _give(self, slot: EngineSlot, job: Job) -> None:
        try:
            slot.send(Submit(job))
        except FrameTooLarge:
            self._fail(job.id, InvalidRequest("The request is too large to be painted."))
        else:
            slot.assigned[job.id] = Assignment(job)

    def on_report(self, slot: EngineSlot, report: Report) -> None:
        """One report of an engine. Events of jobs that are over, or not this engine's, are not passed on."""
        if isinstance(report, MemoryHeld):
            slot.note_memory(report)
        if isinstance(report, Measurement):
            self.estimate.costs.observe(report)
            self._measure(report)
        elif isinstance(report, Ready):
            self.engine_ready(slot, report)
        elif isinstance(report, JobEvent) and report.job_id in slot.assigned:
            self._follow(slot, report)

    def _follow(self, slot: EngineSlot, event: JobEvent) -> None:
        assigned = slot.assigned[event.job_id]
        match event:
            case Started():
                assigned.started = True
            case Progressed(index=index, step=step):
                assigned.steps_done[index] = step
            case Painted():
                assigned.painted += 1
            case Finished() | Failed():
                self._returned(slot, event)
                return
            case _:
                pass
        if event.job_id in self._pending:
            self._pending[event.job_id].tell(event)
        if isinstance(event, Painted):
            self.dispatch()

    def _returned(self, slot: EngineSlot, last: Finished | Failed) -> None:
        del slot.assigned[last.job_id]
        if isinstance(last, Finished):
            self._job_seconds.add(last.paint_seconds)
        self._close(last.job_id, last)
        self.dispatch()

    def engine_ready(self, slot: EngineSlot, ready: Ready) -> None:
        slot.ready = ready
        if slot.lost_at is not None:
            self.estimate.restarts.add(time.monotonic() - slot.lost_at)
        self._closed_reason = None
        self.dispatch()

    def engine_lost(self, slot: EngineSlot) -> None:
        """Jobs begun fail; the others go back to where they stood and wait for an engine."""
        slot.ready, slot.warm, slot.lost_at = None, frozenset(), time.monotonic()
        assigned, slot.assigned = list(slot.assigned.values()), {}
        for lost in reversed(assigned):
            if lost.job.id in self._pending:
                self._rescue(lost)
        self.dispatch()

    def _rescue(self, lost: Assignment) -> None:
        entry = self._pending[lost.job.id]
        entry.engines_lost += 1
        if lost.started:
            self._fail(lost.job.id, self._lost_engine())
        elif entry.engines_lost > ENGINES_A_JOB_MAY_LOSE:
            self._fail(lost.job.id, EngineFault("The engine died each time it held this job."))
        else:
            self._queue.put_back(lost.job)

    def _lost_engine(self) -> Unavailable:
        wait = retry_after(self.estimate.restart_seconds())
        return Unavailable("The engine was lost while painting and is being restarted.", retry_after_seconds=wait)

    def drain(self, why: str) -> None:
        """No engine is to be expected: whoever is here is told so, and whoever comes, until one is ready after all."""
        self._closed_reason = why
        wait = retry_after(self.estimate.restart_seconds())
        for job_id in list(self._pending):
            self._end_early(job_id, Unavailable(why, retry_after_seconds=wait))
