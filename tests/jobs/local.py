"""Takes a fake engine; gives a Backend that paints with it on a thread, through the real desk and loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.job import Job
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.ipc.messages import Report, Stop
from sdxl_gateway.jobs.dispatcher import Dispatcher
from sdxl_gateway.jobs.engine_slot import EngineSlot
from sdxl_gateway.jobs.subscription import Subscription
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.loop import Commands, Loop
from sdxl_gateway.worker.serve import LoadedEngine

log = logging.getLogger(__name__)


class LocalBackend:
    """A desk with one engine on a thread; when the thread ends, every job ends with Unavailable."""

    def __init__(self, open_engine: Callable[[Measure], LoadedEngine[Any]], *, queue_size: int = 64) -> None:
        self._open_engine = open_engine
        self._dispatcher = Dispatcher(queue_size=queue_size, max_lanes=4)
        self._commands: Commands = SimpleQueue()
        self._seat = EngineSlot(send=self._commands.put)
        self._dispatcher.slots.append(self._seat)
        self._over = asyncio.Event()

    async def start(self) -> None:
        """Returns at once; `ready` turns true when the engine is open."""
        self._loop = asyncio.get_running_loop()
        Thread(target=self._run, name="engine", daemon=True).start()

    async def stop(self) -> None:
        """Ends every job with Unavailable, and the thread."""
        self._dispatcher.drain("The server is closing.")
        self._commands.put(Stop())
        await asyncio.wait_for(self._over.wait(), 10)

    async def submit(self, job: Job) -> Subscription:
        return self._dispatcher.submit(job)

    def cancel(self, job_id: str) -> None:
        self._dispatcher.cancel(job_id)

    @property
    def ready(self) -> bool:
        return self._dispatcher.ready

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
        Loop(opened.engine, self._commands, self._report, costs=costs, max_lanes=opened.max_lanes).run()

    def _report(self, report: Report) -> None:
        self._on_loop(self._dispatcher.on_report, self._seat, report)

    def _on_loop(self, what: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed first: nobody is left to tell
            self._loop.call_soon_threadsafe(what, *args)

    def _ended(self) -> None:
        self._dispatcher.engine_lost(self._seat)
        self._dispatcher.drain("The engine has ended.")
        self._over.set()
