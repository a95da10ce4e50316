"""Takes commands and an engine; gives events: plans, begins, steps, shows and finishes until told to stop.

Whatever an engine does, each job taken ends in exactly one last event, and the loop outlives any job's fault.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, NoReturn

from sdxl_gateway.core.errors import Cancelled, DeadlineExceeded, EngineFault, GatewayError, Unavailable
from sdxl_gateway.core.events import Failed, Finished, JobEvent, Painted, Previewed, Progressed, Started
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.ports import CanvasT, Engine
from sdxl_gateway.ipc.messages import Cancel, Command, Stop, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.fair_share import Shares
from sdxl_gateway.worker.active_job import Held, Lane
from sdxl_gateway.worker.scheduler import Hold, Plan, Scheduler, Turn

log = logging.getLogger(__name__)

Tell = Callable[[JobEvent], None]


@dataclass(frozen=True, slots=True)
class Nudge:
    """Nothing to do but look again: adapters have come near."""


Commands = SimpleQueue[Command | Nudge]


class DeviceGone(Exception):
    """The engine said its device is lost; the process has to end."""


class Loop(Generic[CanvasT]):
    """Owns the engine's thread. `costs` is fed by the same measurements the engine gives to the outside."""

    def __init__(
        self,
        engine: Engine[CanvasT],
        commands: Commands,
        tell: Tell,
        *,
        costs: Costs,
        max_lanes: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._tell = tell
        self._clock = clock
        self._shares = Shares()
        self._scheduler = Scheduler(costs, self._shares, max_lanes)
        self._held: dict[str, Held[CanvasT]] = {}
        self._hold: Hold | None = None
        self._moved_on: float | None = None

    def run(self) -> None:
        """Returns after Stop. Raises DeviceGone; jobs already begun were told, the others were not."""
        while self.advance():
            pass

    def advance(self) -> bool:
        """One round: commands, a plan, at most one step. False after Stop."""
        if not self._take_commands():
            return False
        self._moved_on = self._clock()
        self._look_at_prefetches()
        self._carry_out(self._plan())
        self._moved_on = None
        return True

    def age_seconds(self) -> float:
        """Since the loop last moved on, read from any thread; 0 while it waits for work."""
        moved_on = self._moved_on
        return 0.0 if moved_on is None else self._clock() - moved_on

    def counts(self) -> tuple[int, int]:
        """Jobs begun and jobs waiting, read from any thread."""
        held = list(self._held.values())
        running = sum(h.started for h in held)
        return running, len(held) - running

    # -- commands

    def _take_commands(self) -> bool:
        """All that has come; waits for one when there is nothing else to do. False after Stop."""
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
            self._obey(command)

    def _anything_to_do(self) -> bool:
        return any(h.near for h in self._held.values())

    def _patience(self) -> float | None:
        """Until the next deadline among jobs whose adapters are still far."""
        if not self._held:
            return None
        until = min(h.job.deadline for h in self._held.values()) - self._clock()
        return min(max(until, 0.0), 3600.0)

    def _obey(self, command: Command | Nudge) -> None:
        match command:
            case Submit(job=job):
                self._take(job)
            case Cancel(job_id=job_id) if job_id in self._held:
                self._end(self._held[job_id], Cancelled("The request was cancelled."))
            case _:
                pass

    def _take(self, job: Job) -> None:
        held: Held[CanvasT] = Held(job)
        self._held[job.id] = held
        with self._blaming(held):
            held.prefetch = self._engine.prefetch(job.recipe)
            held.prefetch.add_done_callback(lambda _: self._commands.put(Nudge()))

    def _look_at_prefetches(self) -> None:
        for held in list(self._held.values()):
            if not held.near and held.prefetch is not None and held.prefetch.done():
                with self._blaming(held):
                    held.prefetch.result()
                    held.near = True

    def _stop(self) -> None:
        for held in list(self._held.values()):
            self._end(held, Unavailable("The server is closing."))

    # -- steps

    def _plan(self) -> Plan:
        turns = [turn for held in self._held.values() for turn in held.turns()]
        plan = self._scheduler.plan(turns, self._hold, self._clock())
        self._hold = plan.hold
        return plan

    def _carry_out(self, plan: Plan) -> None:
        for job_id in plan.drop:
            self._end(self._held[job_id], DeadlineExceeded("The picture could not be painted in time."))
        for turn in plan.advance:
            if not turn.begun:
                self._begin(turn)
        self._step([turn for turn in plan.advance if turn.job_id in self._held])

    def _begin(self, turn: Turn) -> None:
        held = self._held.get(turn.job_id)
        if held is None:
            return
        if not held.started:
            held.started = True
            held.began = self._clock()
            self._tell(Started(held.job.id, max(held.began - held.job.arrived, 0.0)))
        self._shares.charge(turn.tenant, turn.work * turn.steps_left)
        with self._blaming(held):
            held.canvases[turn.index] = self._engine.begin(held.job.recipe, turn.index, held.job.inputs)

    def _step(self, turns: list[Turn]) -> None:
        """A fault of several together is nobody's yet: whoever it left behind is stepped alone."""
        aboard = [Lane(self._held[turn.job_id], turn.index) for turn in turns]
        aboard = [lane for lane in aboard if lane.canvas.batch_key == aboard[0].canvas.batch_key]
        if len(aboard) > 1:
            with self._blaming():
                self._engine.step([lane.canvas for lane in aboard])
        for lane in aboard:
            if not lane.moved:
                self._step_alone(lane)
        for lane in aboard:
            self._after_step(lane)

    def _step_alone(self, lane: Lane[CanvasT]) -> None:
        if lane.held.job.id in self._held:
            with self._blaming(lane.held):
                self._engine.step([lane.canvas])

    def _after_step(self, lane: Lane[CanvasT]) -> None:
        held, index, canvas = lane.held, lane.index, lane.canvas
        if held.job.id not in self._held:
            return
        with self._blaming(held):
            self._tell(Progressed(held.job.id, index, canvas.steps_done, canvas.steps_total))
            if canvas.steps_done >= canvas.steps_total:
                self._finish(held, index)
            elif (partial := held.partial_due(canvas)) is not None:
                self._tell(Previewed(held.job.id, index, partial, self._engine.preview(canvas)))

    def _finish(self, held: Held[CanvasT], index: int) -> None:
        picture = self._engine.finish(held.canvases[index])
        held.painted(index)
        self._tell(Painted(held.job.id, index, held.job.recipe.seed + index, picture))
        if held.all_painted:
            self._end(held)

    # -- ends

    @contextmanager
    def _blaming(self, *helds: Held[CanvasT]) -> Iterator[None]:
        """One piece of work: a fault inside ends these jobs and nothing else, unless the device itself is gone."""
        self._moved_on = self._clock()
        try:
            yield
        except DeviceGone:
            raise
        except Exception as problem:
            if getattr(problem, "fatal", False):
                self._lose_device(problem)
            self._end_all(helds, _as_told(problem))

    def _lose_device(self, problem: Exception) -> NoReturn:
        begun = tuple(held for held in self._held.values() if held.started)
        self._end_all(begun, Unavailable("The device was lost; the engine is being restarted."))
        raise DeviceGone(str(problem)) from problem

    def _end_all(self, helds: tuple[Held[CanvasT], ...], error: GatewayError) -> None:
        for held in helds:
            if held.job.id in self._held:
                self._end(held, error)

    def _end(self, held: Held[CanvasT], error: GatewayError | None = None) -> None:
        """The only place where a job leaves the loop."""
        del self._held[held.job.id]
        job_id = held.job.id
        if held.prefetch is not None:
            self._release(held)
        if error is None:
            self._tell(Finished(job_id, self._clock() - held.began, tuple(held.warnings)))
        else:
            self._tell(Failed(job_id, error))

    def _release(self, held: Held[CanvasT]) -> None:
        try:
            self._engine.release(held.job.recipe)
        except Exception:
            log.exception("adapters were not released")


def _as_told(problem: Exception) -> GatewayError:
    """What a client may know of it; library text stays in the log."""
    if isinstance(problem, GatewayError):
        return problem
    log.error("the engine failed", exc_info=problem)
    return EngineFault("The engine failed while painting this picture.")
