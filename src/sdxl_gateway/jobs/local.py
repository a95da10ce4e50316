"""Takes jobs; has them painted on a thread of this process and gives their events (a core Backend)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.messages import Command, Report, Stop
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.jobs.desk import Desk, ignore
from sdxl_gateway.jobs.mailbox import Following
from sdxl_gateway.jobs.seat import Seat

log = logging.getLogger(__name__)

Work = Callable[["SimpleQueue[Any]", Callable[[Report], None]], None]
"""Takes the queue of commands and a way to report; says Ready, then works until Stop (worker.process.local_work)."""


class LocalBackend:
    """A desk with one engine on a thread; when the thread ends, every job ends with Unavailable."""

    def __init__(self, work: Work, *, queue_size: int = 64, max_lanes: int = 4, measure: Measure = ignore) -> None:
        self._desk = Desk(queue_size=queue_size, max_lanes=max_lanes, measure=measure)
        self._work = work
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._seat = Seat(send=self._commands.put)
        self._desk.seats.append(self._seat)
        self._over = asyncio.Event()
        self._started = False

    async def start(self) -> None:
        """Returns at once; `ready` turns true when the work says Ready."""
        self._loop = asyncio.get_running_loop()
        self._started = True
        Thread(target=self._run, name="engine", daemon=True).start()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Ends every job with Unavailable; waits that long for a step to end."""
        self._desk.close_door("The server is closing.")
        self._commands.put(Stop())
        if self._started:
            try:
                await asyncio.wait_for(self._over.wait(), grace_seconds)
            except TimeoutError:
                log.error("the engine's thread is still at work; it ends with this process")

    async def submit(self, job: Job) -> Following:
        """The job's events, to the last. Raises Busy or Unavailable when it cannot enter the line."""
        return self._desk.enter(job)

    def cancel(self, job_id: str) -> None:
        self._desk.cancel(job_id)

    @property
    def ready(self) -> bool:
        return self._desk.ready

    def _run(self) -> None:
        try:
            self._work(self._commands, self._report)
        except Exception:
            log.exception("the engine's thread ended")
        self._on_loop(self._ended)

    def _report(self, report: Report) -> None:
        self._on_loop(self._desk.hear, self._seat, report)

    def _on_loop(self, what: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed first: nobody is left to tell
            self._loop.call_soon_threadsafe(what, *args)

    def _ended(self) -> None:
        self._desk.engine_lost(self._seat)
        self._desk.close_door("The engine has ended.")
        self._over.set()
