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
from sdxl_gateway.jobs.engine_slot import Given, Seat, choose, with_room
from sdxl_gateway.jobs.estimate import Estimate, retry_after
from sdxl_gateway.jobs.queue import Line, LineFull
from sdxl_gateway.jobs.subscription import Following
from sdxl_gateway.scheduling.costs import Average

log = logging.getLogger(__name__)

ENGINES_A_JOB_MAY_LOSE = 2
WINDOW_LANES = 2


@dataclass(slots=True)
class Open:
    """A job that is not over."""

    job: Job
    tell: Callable[[JobEvent], None]
    deadline: asyncio.TimerHandle | None = None
    engines_lost: int = 0


def ignore(_: Measurement) -> None:
    """For those who keep no measurements."""


class Desk:
    """Holds the line, what each engine was given, and where each job's events go.

    An engine is given jobs up to a window of twice `max_lanes` images: enough to fill every lane and to bring the next
    blends near meanwhile, and little enough that the order of the line, not of arrival at an engine, decides.
    """

    def __init__(self, *, queue_size: int, max_lanes: int, measure: Measure = ignore) -> None:
        self.seats: list[Seat] = []
        self.estimate = Estimate(max_lanes)
        self._line = Line(queue_size)
        self._window_images = WINDOW_LANES * max_lanes
        self._measure = measure
        self._open: dict[str, Open] = {}
        self._job_seconds = Average()
        self._hopeless: str | None = None

    # -- the callers' side

    @property
    def ready(self) -> bool:
        return any(seat.ready is not None for seat in self.seats)

    @property
    def waiting(self) -> int:
        """Jobs no engine has begun."""
        return len(self._open) - self.running

    @property
    def running(self) -> int:
        return sum(given.started for seat in self.seats for given in seat.given.values())

    def enter(self, job: Job) -> Following:
        """Raises Busy when the line is full or the answer would come too late, Unavailable when no engine will come."""
        if self._hopeless is not None:
            raise Unavailable(self._hopeless, retry_after_seconds=retry_after(self.estimate.restart_seconds()))
        self._refuse_if_too_late(job)
        try:
            self._line.put(job)
        except LineFull:
            wait = retry_after(self._job_seconds.value)
            raise Busy("The line is full; try again later.", retry_after_seconds=wait) from None
        following = Following(lambda: self.cancel(job.id))
        self._open[job.id] = Open(job, following.put, self._alarm(job))
        self.give_out()
        return following

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
        if job_id not in self._open:
            return
        self._line.remove(job_id)
        for seat in self.seats:
            if job_id in seat.given:
                seat.send(Cancel(job_id))
        self._fail(job_id, error)

    def _fail(self, job_id: str, error: GatewayError) -> None:
        self._close(job_id, Failed(job_id, error))

    def _close(self, job_id: str, last: Finished | Failed) -> None:
        """The only place where a job's last event is told."""
        entry = self._open.pop(job_id, None)
        if entry is None:
            return
        if entry.deadline is not None:
            entry.deadline.cancel()
        entry.tell(last)

    # -- admission

    def wait_seconds(self, job: Job) -> float:
        """Until an engine is free for this job, by what is measured; 0 when nothing is."""
        ahead = self._line.ahead_of(job, self.estimate.job_seconds)
        given = (g for seat in self.seats for g in seat.given.values() if g.job.priority <= job.priority)
        ahead += sum(g.share_left * self.estimate.job_seconds(g.job) for g in given)
        return ahead / max(sum(seat.ready is not None for seat in self.seats), 1)

    def _refuse_if_too_late(self, job: Job) -> None:
        """An estimate may be wrong, so somebody must always be let in to correct it: an idle engine takes any job."""
        if not self._open:
            return
        late_by = job.arrived + self.wait_seconds(job) + self.estimate.job_seconds(job) - job.deadline
        if late_by > 0:
            raise Busy("The answer would come too late; try again later.", retry_after_seconds=retry_after(late_by))

    # -- the engines' side

    def give_out(self) -> None:
        """Jobs from the line to engines that have room."""
        while (job := self._line.take(lambda p: bool(with_room(self.seats, p, self._window_images)))) is not None:
            seat = choose(with_room(self.seats, job.priority, self._window_images), job)
            self._give(seat, job)

    def _give(self, seat: Seat, job: Job) -> None:
        try:
            seat.send(Submit(job))
        except FrameTooLarge:
            self._fail(job.id, InvalidRequest("The request is too large to be painted."))
        else:
            seat.given[job.id] = Given(job)

    def hear(self, seat: Seat, report: Report) -> None:
        """One report of an engine. Events of jobs that are over, or not this engine's, are not passed on."""
        if isinstance(report, MemoryHeld):
            seat.note_memory(report)
        if isinstance(report, Measurement):
            self.estimate.costs.observe(report)
            self._measure(report)
        elif isinstance(report, Ready):
            self.engine_ready(seat, report)
        elif isinstance(report, JobEvent) and report.job_id in seat.given:
            self._follow(seat, report)

    def _follow(self, seat: Seat, event: JobEvent) -> None:
        given = seat.given[event.job_id]
        match event:
            case Started():
                given.started = True
            case Progressed(index=index, step=step):
                given.steps_done[index] = step
            case Painted():
                given.painted += 1
            case Finished() | Failed():
                self._returned(seat, event)
                return
            case _:
                pass
        if event.job_id in self._open:
            self._open[event.job_id].tell(event)
        if isinstance(event, Painted):
            self.give_out()

    def _returned(self, seat: Seat, last: Finished | Failed) -> None:
        del seat.given[last.job_id]
        if isinstance(last, Finished):
            self._job_seconds.add(last.paint_seconds)
        self._close(last.job_id, last)
        self.give_out()

    def engine_ready(self, seat: Seat, ready: Ready) -> None:
        seat.ready = ready
        if seat.lost_at is not None:
            self.estimate.restarts.add(time.monotonic() - seat.lost_at)
        self._hopeless = None
        self.give_out()

    def engine_lost(self, seat: Seat) -> None:
        """Jobs begun fail; the others go back to where they stood and wait for an engine."""
        seat.ready, seat.warm, seat.lost_at = None, frozenset(), time.monotonic()
        given, seat.given = list(seat.given.values()), {}
        for lost in reversed(given):
            if lost.job.id in self._open:
                self._rescue(lost)
        self.give_out()

    def _rescue(self, lost: Given) -> None:
        entry = self._open[lost.job.id]
        entry.engines_lost += 1
        if lost.started:
            self._fail(lost.job.id, self._lost_engine())
        elif entry.engines_lost > ENGINES_A_JOB_MAY_LOSE:
            self._fail(lost.job.id, EngineFault("The engine died each time it held this job."))
        else:
            self._line.put_back(lost.job)

    def _lost_engine(self) -> Unavailable:
        wait = retry_after(self.estimate.restart_seconds())
        return Unavailable("The engine was lost while painting and is being restarted.", retry_after_seconds=wait)

    def close_door(self, why: str) -> None:
        """No engine is to be expected: whoever is here is told so, and whoever comes, until one is ready after all."""
        self._hopeless = why
        wait = retry_after(self.estimate.restart_seconds())
        for job_id in list(self._open):
            self._end_early(job_id, Unavailable(why, retry_after_seconds=wait))
