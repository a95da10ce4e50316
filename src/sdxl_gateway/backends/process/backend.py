"""Takes jobs; has them painted by a supervised engine process and gives their events (a core Backend)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from sdxl_gateway.backends.process.supervisor import Supervisor
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.ipc.messages import Ready
from sdxl_gateway.jobs.dispatcher import Desk, ignore
from sdxl_gateway.jobs.engine_slot import Seat
from sdxl_gateway.jobs.subscription import Following

ENGINE_COMMAND = (sys.executable, "-m", "sdxl_gateway.engine_main")
LOAD_SECONDS = 1800.0
FAILED_STARTS_BEFORE_CLOSING = 3


class ProcessBackend:
    """A desk with one supervised process for each engine; `command` gets `--fd N` appended."""

    def __init__(
        self,
        config: EngineProcess,
        *,
        queue_size: int,
        measure: Measure = ignore,
        command: Sequence[str] = ENGINE_COMMAND,
        load_seconds: float = LOAD_SECONDS,
    ) -> None:
        self._desk = Desk(queue_size=queue_size, max_lanes=config.engine.max_lanes, measure=measure)
        self._supervisors = [self._seat_one(config, command, load_seconds)]

    def _seat_one(self, config: EngineProcess, command: Sequence[str], load_seconds: float) -> Supervisor:
        seat = Seat(send=lambda said: supervisor.send(said))
        supervisor = Supervisor(
            command,
            config.model_dump(mode="json"),
            hear=partial(self._desk.hear, seat),
            lost=partial(self._lost, seat),
            stall_seconds=config.engine.stall_seconds,
            load_seconds=load_seconds,
            backoff_seconds=config.engine.restart_backoff_seconds,
            backoff_max_seconds=config.engine.restart_backoff_max_seconds,
        )
        self._desk.seats.append(seat)
        return supervisor

    async def start(self) -> None:
        """Returns at once; `ready` turns true when an engine is loaded. Jobs may be submitted before."""
        for supervisor in self._supervisors:
            await supervisor.start()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Ends every job with Unavailable and every process; safe to call when not started."""
        self.close_door()
        for supervisor in self._supervisors:
            await supervisor.stop(grace_seconds)

    def close_door(self) -> None:
        """Ends every job with Unavailable, at once; the engines stay until `stop`."""
        self._desk.close_door("The server is closing.")

    async def submit(self, job: Job) -> Following:
        """The job's events, to the last. Raises Busy or Unavailable when it cannot enter the line."""
        return self._desk.enter(job)

    def cancel(self, job_id: str) -> None:
        self._desk.cancel(job_id)

    @property
    def ready(self) -> bool:
        return self._desk.ready

    @property
    def waiting(self) -> int:
        """Jobs no engine has begun."""
        return self._desk.waiting

    @property
    def running(self) -> int:
        return self._desk.running

    @property
    def engines(self) -> list[Ready]:
        """How each engine that can paint now introduced itself."""
        return [seat.ready for seat in self._desk.seats if seat.ready is not None]

    @property
    def pids(self) -> list[int]:
        """Of the engine processes alive now."""
        return [supervisor.pid for supervisor in self._supervisors if supervisor.pid is not None]

    def _lost(self, seat: Seat, failed_starts: int) -> None:
        self._desk.engine_lost(seat)
        if failed_starts >= FAILED_STARTS_BEFORE_CLOSING and not self._desk.ready:
            self._desk.close_door("The engine cannot be started; see the server's log.")
