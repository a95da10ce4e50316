"""A core Backend with an engine on a thread of this process.

For tests and for debugging: queue, dispatcher and loop are those of a server, without the process between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from sdxl_gateway.backends.dispatched import Dispatched
from sdxl_gateway.core.errors import CLOSING
from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.ipc.messages import Command, Report, Stop
from sdxl_gateway.jobs.dispatcher import Dispatcher, ignore
from sdxl_gateway.jobs.engine_slot import EngineSlot
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.loop import Commands, Loop
from sdxl_gateway.worker.serve import LoadedEngine, by_own_clock

log = logging.getLogger(__name__)

ENGINE_ID = "0"


class LocalBackend(Dispatched):
    """A dispatcher with one engine on a thread; when the thread ends, every job ends with Unavailable.

    `open_engine` is called on that thread, with a function for its measurements; `listener` hears them as EngineEvents,
    on the event loop. A backend is started once; as a thread cannot be killed, an engine that hangs is left behind.
    """

    def __init__(
        self,
        open_engine: Callable[[Measure], LoadedEngine[Any]],
        *,
        queue_size: int = 64,
        tenant_queue_size: int | None = None,
        max_lanes: int = 4,
        listener: EngineListener = ignore,
    ) -> None:
        self._open_engine = open_engine
        super().__init__(
            Dispatcher(
                queue_size=queue_size, tenant_queue_size=tenant_queue_size, max_lanes=max_lanes, listener=listener
            )
        )
        self._commands: Commands = SimpleQueue()
        self._slot = EngineSlot(ENGINE_ID, send=self._send)
        self._dispatcher.slots.append(self._slot)
        self._thread: Thread | None = None
        self._over = asyncio.Event()

    async def start(self) -> None:
        """Start without waiting; `ready` turns true when the engine is open. Jobs may be submitted before."""
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """End every job with Unavailable, and the thread unless its engine hangs; safe when not started."""
        self.drain(CLOSING)
        self._commands.put(Stop())
        if self._thread is not None:
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._over.wait()
            except TimeoutError:
                log.warning("the engine's thread has not ended; it is left behind")

    def _send(self, command: Command) -> None:
        self._commands.put(by_own_clock(command))

    def _run(self) -> None:
        try:
            self._work()
        except Exception:
            log.exception("the engine's thread ended")
        self._on_loop(self._ended)

    def _work(self) -> None:
        costs = Costs()

        def measure(measurement: Measurement) -> None:
            costs.observe(measurement)
            self._report(measurement)

        opened = self._open_engine(measure)
        self._report(opened.ready)
        lanes, patience_seconds = opened.max_lanes, opened.load_wait_seconds
        Loop(
            opened.engine,
            self._commands,
            self._report,
            costs=costs,
            max_lanes=lanes,
            load_wait_seconds=patience_seconds,
        ).run()

    def _report(self, report: Report) -> None:
        self._on_loop(self._dispatcher.on_report, self._slot, report)

    def _on_loop(self, what: Callable[..., None], *args: object) -> None:
        # The loop may have been closed first: nobody is left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *args)

    def _ended(self) -> None:
        self._dispatcher.engine_lost(self._slot)
        self._dispatcher.drain("The engine has ended.")
        self._over.set()
