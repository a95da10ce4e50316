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
from sdxl_gateway.jobs.dispatcher import Dispatcher, ignore
from sdxl_gateway.jobs.engine_slot import EngineSlot
from sdxl_gateway.jobs.subscription import Subscription

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
        self._dispatcher = Dispatcher(queue_size=queue_size, max_lanes=config.engine.max_lanes, measure=measure)
        self._supervisors = [self._slot_one(config, command, load_seconds)]

    def _slot_one(self, config: EngineProcess, command: Sequence[str], load_seconds: float) -> Supervisor:
        slot = EngineSlot(send=lambda said: supervisor.send(said))
        supervisor = Supervisor(
            command,
            config.model_dump(mode="json"),
            on_report=partial(self._dispatcher.on_report, slot),
            lost=partial(self._lost, slot),
            stall_seconds=config.engine.stall_seconds,
            load_seconds=load_seconds,
            backoff_seconds=config.engine.restart_backoff_seconds,
            backoff_max_seconds=config.engine.restart_backoff_max_seconds,
        )
        self._dispatcher.slots.append(slot)
        return supervisor

    async def start(self) -> None:
        """Returns at once; `ready` turns true when an engine is loaded. Jobs may be submitted before."""
        for supervisor in self._supervisors:
            await supervisor.start()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Ends every job with Unavailable and every process; safe to call when not started."""
        self.drain()
        for supervisor in self._supervisors:
            await supervisor.stop(grace_seconds)

    def drain(self) -> None:
        """Ends every job with Unavailable, at once; the engines stay until `stop`."""
        self._dispatcher.drain("The server is closing.")

    async def submit(self, job: Job) -> Subscription:
        """The job's events, to the last. Raises Busy or Unavailable when it cannot enter the line."""
        return self._dispatcher.submit(job)

    def cancel(self, job_id: str) -> None:
        self._dispatcher.cancel(job_id)

    @property
    def ready(self) -> bool:
        return self._dispatcher.ready

    @property
    def waiting(self) -> int:
        """Jobs no engine has begun."""
        return self._dispatcher.waiting

    @property
    def running(self) -> int:
        return self._dispatcher.running

    @property
    def engines(self) -> list[Ready]:
        """How each engine that can paint now introduced itself."""
        return [slot.ready for slot in self._dispatcher.slots if slot.ready is not None]

    @property
    def pids(self) -> list[int]:
        """Of the engine processes alive now."""
        return [supervisor.pid for supervisor in self._supervisors if supervisor.pid is not None]

    def _lost(self, slot: EngineSlot, failed_starts: int) -> None:
        self._dispatcher.engine_lost(slot)
        if failed_starts >= FAILED_STARTS_BEFORE_CLOSING and not self._dispatcher.ready:
            self._dispatcher.drain("The engine cannot be started; see the server's log.")
