"""A core Backend of supervised engine processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial

from sdxl_gateway.backends.dispatched import Dispatched
from sdxl_gateway.backends.process.supervisor import Supervisor
from sdxl_gateway.config import EngineProcess
from sdxl_gateway.core.errors import CLOSING
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.ipc.messages import Ready
from sdxl_gateway.jobs.dispatcher import Dispatcher, ignore
from sdxl_gateway.jobs.engine_slot import EngineSlot

ENGINE_COMMAND = (sys.executable, "-m", "sdxl_gateway.engine_main")
LOAD_SECONDS = 1800.0
FAILED_STARTS_BEFORE_CLOSING = 3


class ProcessBackend(Dispatched):
    """A dispatcher with one supervised process for each of `engines`, whose ids are "0", "1", ... in that order.

    All engines have the `max_lanes` of the first; `--fd N` is appended to `command`; `listener` hears the engines'
    measurements and losses.
    """

    def __init__(
        self,
        engines: Sequence[EngineProcess],
        *,
        queue_size: int,
        tenant_queue_size: int | None = None,
        listener: EngineListener = ignore,
        command: Sequence[str] = ENGINE_COMMAND,
        load_seconds: float = LOAD_SECONDS,
    ) -> None:
        max_lanes = engines[0].engine.max_lanes
        super().__init__(
            Dispatcher(
                queue_size=queue_size, tenant_queue_size=tenant_queue_size, max_lanes=max_lanes, listener=listener
            )
        )
        self._supervisors = [
            self._supervised(str(number), config, command, load_seconds) for number, config in enumerate(engines)
        ]

    def _supervised(
        self, engine_id: str, config: EngineProcess, command: Sequence[str], load_seconds: float
    ) -> Supervisor:
        slot = EngineSlot(engine_id, send=lambda command: supervisor.send(command))
        supervisor = Supervisor(
            command,
            config.model_dump(mode="json"),
            on_report=partial(self._dispatcher.on_report, slot),
            on_lost=partial(self._on_lost, slot),
            stall_seconds=config.engine.stall_seconds,
            load_seconds=load_seconds,
            backoff_seconds=config.engine.restart_backoff_seconds,
            backoff_max_seconds=config.engine.restart_backoff_max_seconds,
        )
        self._dispatcher.slots.append(slot)
        return supervisor

    async def start(self) -> None:
        """Start without waiting; `ready` turns true when an engine is loaded. Jobs may be submitted before."""
        for supervisor in self._supervisors:
            await supervisor.start()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """End every job with Unavailable, and every process; safe when not started."""
        self.drain(CLOSING)
        await asyncio.gather(*(supervisor.stop(grace_seconds) for supervisor in self._supervisors))

    @property
    def engines(self) -> list[Ready]:
        """The Ready of each engine that can paint now."""
        return [slot.ready for slot in self._dispatcher.slots if slot.ready is not None]

    @property
    def pids(self) -> list[int]:
        """The process ids of the engines that are alive."""
        return [supervisor.pid for supervisor in self._supervisors if supervisor.pid is not None]

    def _on_lost(self, slot: EngineSlot, failed_starts: int) -> None:
        self._dispatcher.engine_lost(slot)
        if failed_starts >= FAILED_STARTS_BEFORE_CLOSING and not self._dispatcher.ready:
            self._dispatcher.drain("The engine cannot be started; see the server's log.")
