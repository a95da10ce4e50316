"""The loop: takes commands, and paints jobs step by step with an engine until it is stopped.

While a picture is decoded other images take their steps; its job ends between two of them. Whatever the engine does,
each job ends in exactly one last event, and no job's fault ends the loop.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic

from sdxl_gateway.core.errors import Cancelled, DeadlineExceeded, GatewayError, StillLoading, Unavailable
from sdxl_gateway.core.events import Failed, Finished, JobEvent, Painted, Previewed, Progressed, Started
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.ports import CanvasT, DeviceLost, Engine
from sdxl_gateway.ipc.messages import Cancel, Command, Stop, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.fair_share import FairShares
from sdxl_gateway.worker.active_job import ActiveJob, Coming, Lane, stepped_together
from sdxl_gateway.worker.course import Course
from sdxl_gateway.worker.faults import as_told
from sdxl_gateway.worker.scheduler import BatchHold, Candidate, Plan, Scheduler

log = logging.getLogger(__name__)

Tell = Callable[[JobEvent], None]


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Only wakes the loop: adapters are loaded, or a picture is decoded."""


Commands = SimpleQueue[Command | WakeUp]


class Loop(Generic[CanvasT]):
    """Owns the engine's thread. `costs` learns from the same measurements that the engine reports.

    A job whose models and adapters are not loaded after `load_wait_seconds` ends with StillLoading. While `held`
    returns true no step is taken; a WakeUp is sent when that may have changed.
    """

    def __init__(
        self,
        engine: Engine[CanvasT],
        commands: Commands,
        tell: Tell,
        *,
        costs: Costs,
        max_lanes: int = 4,
        load_wait_seconds: float = math.inf,
        held: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._tell = tell
        self._load_wait_seconds = load_wait_seconds
        self._held = held
        self._clock = clock
        self._shares = FairShares()
        self._scheduler = Scheduler(costs, self._shares, max_lanes)
        self._active: dict[str, ActiveJob[CanvasT]] = {}
        self._coming: list[Coming[CanvasT]] = []
        self._hold: BatchHold | None = None
        self._moved_on: float | None = None

    def run(self) -> None:
        """Run until Stop. Raises DeviceLost; jobs that were begun have ended then, the others have not."""
        while self.advance():
            pass

    def advance(self) -> bool:
        """One round: commands, a plan, at most one step. False after Stop."""
        if not self._take_commands():
            return False
        self._moved_on = self._clock()
        self._look_at_prefetches()
        self._look_at_pictures()
        self._carry_out(self._plan())
        if not self._coming:
            self._moved_on = None
        return True

    def age_seconds(self) -> float:
        """Seconds since the loop last made progress, 0 while it is idle; may be read from any thread."""
        moved_on = self._moved_on
        return 0.0 if moved_on is None else self._clock() - moved_on

    def counts(self) -> tuple[int, int]:
        """The jobs that are begun and those that wait; may be read from any thread."""
        active = list(self._active.values())
        running = sum(h.started for h in active)
        return running, len(active) - running

    # -- commands

    def _take_commands(self) -> bool:
        """Take all commands that have arrived; wait for one when there is nothing else to do. False after Stop."""
        wait = not self._anything_to_do()
        while True:
            try:
                command = self._commands.get(block=wait, timeout=self._patience() if wait else None)
            except Empty:
                return True
            wait = False
            if isinstance(command, Stop):
                self._stop()
                return False
            self._handle(command)

    def _anything_to_do(self) -> bool:
        return not self._held() and any(h.wants_steps for h in self._active.values())

    def _patience(self) -> float | None:
        """The time until the first job that cannot continue now times out."""
        still = [h.waits_until(self._load_wait_seconds) for h in self._active.values() if h.wants_something]
        return min(max(min(still) - self._clock(), 0.0), 3600.0) if still else None

    def _handle(self, command: Command | WakeUp) -> None:
        match command:
            case Submit(job=job):
                self._take(job)
            case Cancel(job_id=job_id) if job_id in self._active:
                self._end(self._active[job_id], Cancelled("The request was cancelled."))
            case _:
                pass

    def _take(self, job: Job) -> None:
        active: ActiveJob[CanvasT] = ActiveJob(job, Course(job, self._tell, self._clock), self._clock())
        self._active[job.id] = active
        with self._fault_scope(active):
            active.prefetch = self._engine.prefetch(job.recipe)
            active.prefetch.add_done_callback(lambda _: self._commands.put(WakeUp()))

    def _look_at_prefetches(self) -> None:
        for active in list(self._active.values()):
            if not active.adapters_ready and active.prefetch is not None and active.prefetch.done():
                with self._fault_scope(active):
                    active.prefetch.result()
                    active.adapters_ready = True
                    active.course.ended("load")
            elif not active.adapters_ready and self._clock() >= active.taken + self._load_wait_seconds:
                self._end(active, StillLoading(waited_seconds=self._load_wait_seconds))

    def _stop(self) -> None:
        for active in list(self._active.values()):
            self._end(active, Unavailable("The server is closing."))

    # -- steps

    def _plan(self) -> Plan:
        candidates = [candidate for active in self._active.values() for candidate in active.candidates()]
        plan = self._scheduler.plan(candidates, self._hold, self._clock())
        self._hold = plan.hold
        return plan

    def _carry_out(self, plan: Plan) -> None:
        for job_id in plan.drop:
            self._end(self._active[job_id], DeadlineExceeded("The picture could not be painted in time."))
        if self._held():
            return
        for candidate in plan.advance:
            if not candidate.begun:
                self._begin(candidate)
        self._step([candidate for candidate in plan.advance if candidate.job_id in self._active])

    def _begin(self, candidate: Candidate) -> None:
        active = self._active.get(candidate.job_id)
        if active is None:
            return
        if not active.started:
            active.started = True
            active.began = self._clock()
            self._tell(Started(active.job.id, max(active.began - active.job.arrived, 0.0)))
        self._shares.charge(candidate.tenant, candidate.work * candidate.steps_left, candidate.weight)
        active.course.begins(candidate.index)
        with self._fault_scope(active):
            active.canvases[candidate.index] = self._engine.begin(active.job.recipe, candidate.index, active.job.inputs)
            active.course.ended("encode", candidate.index)

    def _step(self, candidates: list[Candidate]) -> None:
        """Step the planned canvases; those whose own batch keys differ are stepped one batch after another."""
        lanes = [Lane(self._active[candidate.job_id], candidate.index) for candidate in candidates]
        batches: dict[Hashable, list[Lane[CanvasT]]] = {}
        for lane in lanes:
            batches.setdefault(lane.canvas.batch_key, []).append(lane)
        for batch in batches.values():
            self._step_batch([lane for lane in batch if lane.active.job.id in self._active])
        for lane in lanes:
            self._after_step(lane)

    def _step_batch(self, lanes: list[Lane[CanvasT]]) -> None:
        """Step a batch; after a fault, the canvases that did not advance are stepped one by one to find whose it is."""
        if len(lanes) > 1:
            with self._fault_scope():
                self._engine.step([lane.canvas for lane in lanes])
                stepped_together(lanes)
        for lane in lanes:
            if not lane.moved:
                self._step_alone(lane)

    def _step_alone(self, lane: Lane[CanvasT]) -> None:
        if lane.active.job.id in self._active:
            with self._fault_scope(lane.active):
                self._engine.step([lane.canvas])

    def _after_step(self, lane: Lane[CanvasT]) -> None:
        active, index, canvas = lane.active, lane.index, lane.canvas
        if active.job.id not in self._active:
            return
        with self._fault_scope(active):
            self._tell(Progressed(active.job.id, index, canvas.steps_done, canvas.steps_total))
            if canvas.steps_done >= canvas.steps_total:
                active.stepped.add(index)
                active.course.ended("steps", index)
                self._follow(active, self._engine.finish(canvas), partial(self._painted, active, index))
            elif (number := active.partial_due(canvas)) is not None:
                self._follow(active, self._engine.preview(canvas), partial(self._previewed, active, index, number))

    # -- pictures

    def _follow(self, active: ActiveJob[CanvasT], picture: Future[Picture], then: Callable[[Picture], None]) -> None:
        coming = Coming(active, picture, then)
        if picture.done():
            self._arrived(coming)
        else:
            self._coming.append(coming)
            picture.add_done_callback(lambda _: self._commands.put(WakeUp()))

    def _look_at_pictures(self) -> None:
        there = [coming for coming in self._coming if coming.picture.done()]
        self._coming = [coming for coming in self._coming if coming not in there]
        for coming in there:
            self._arrived(coming)

    def _arrived(self, coming: Coming[CanvasT]) -> None:
        """Handle a decoded picture; for a job that has ended only the device's loss matters."""
        with self._fault_scope(coming.active):
            picture = coming.picture.result()
            if coming.active.job.id in self._active:
                coming.then(picture)

    def _previewed(self, active: ActiveJob[CanvasT], index: int, number: int, picture: Picture) -> None:
        self._tell(Previewed(active.job.id, index, number, picture))

    def _painted(self, active: ActiveJob[CanvasT], index: int, picture: Picture) -> None:
        active.painted(index)
        active.course.ended("decode", index)
        self._tell(Painted(active.job.id, index, active.job.recipe.seed + index, picture))
        if active.all_painted:
            self._end(active)

    # -- ends

    @contextmanager
    def _fault_scope(self, *actives: ActiveJob[CanvasT]) -> Iterator[None]:
        """A context: a fault inside ends these jobs only, unless the device is lost."""
        self._moved_on = self._clock()
        try:
            yield
        except DeviceLost:
            begun = tuple(active for active in self._active.values() if active.started)
            self._end_all(begun, Unavailable("The device was lost; the engine is being restarted."))
            raise
        except Exception as problem:
            self._end_all(actives, as_told(problem))

    def _end_all(self, actives: tuple[ActiveJob[CanvasT], ...], error: GatewayError) -> None:
        for active in actives:
            if active.job.id in self._active:
                self._end(active, error)

    def _end(self, active: ActiveJob[CanvasT], error: GatewayError | None = None) -> None:
        """End the job; no job leaves the loop in any other way."""
        del self._active[active.job.id]
        job_id = active.job.id
        if active.prefetch is not None:
            self._release(active)
        if error is None:
            self._tell(Finished(job_id, self._clock() - active.began, tuple(active.warnings)))
        else:
            self._tell(Failed(job_id, error))

    def _release(self, active: ActiveJob[CanvasT]) -> None:
        try:
            self._engine.release(active.job.recipe)
        except Exception:
            log.exception("adapters were not released")
