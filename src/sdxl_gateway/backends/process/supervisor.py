"""Keeps an engine process alive: starts it, reads its reports, kills it when it stalls, and restarts it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from sdxl_gateway.ipc.channel import AsyncEnd, pair
from sdxl_gateway.ipc.messages import (
    Cancel,
    Command,
    Heartbeat,
    Hello,
    LoadFailed,
    Message,
    Ready,
    Report,
    Stop,
    Submit,
)

log = logging.getLogger(__name__)

GOOD_LIFE_SECONDS = 60.0  # a process that was ready for that long starts the back-off anew
CHECKS_PER_STALL = 20
LAST_WORDS_SECONDS = 2.0
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "5000",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
}
"""Defaults of engines' environment: threads spin only briefly, as long spinning stalls a busy machine; GPUs are
numbered as in the driver's tools; memory freed by pictures of one size can be reused by those of another."""
FORMER_NAMES = {"PYTORCH_ALLOC_CONF": "PYTORCH_CUDA_ALLOC_CONF"}
TERMINATE_SECONDS = 2.0


class Supervisor:
    """Runs one engine process after another.

    `on_report` gets each report; `on_lost` is called at the end of each process, with the number of failed starts in a
    row.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: dict[str, Any],
        *,
        on_report: Callable[[Report], None],
        on_lost: Callable[[int], None],
        stall_seconds: float,
        load_seconds: float,
        backoff_seconds: float,
        backoff_max_seconds: float,
    ) -> None:
        self._command = command
        self._settings = settings
        self._on_report = on_report
        self._on_lost = on_lost
        self._stall_seconds = stall_seconds
        self._load_seconds = load_seconds
        self._backoff_seconds = backoff_seconds
        self._backoff_max_seconds = backoff_max_seconds
        self._end: AsyncEnd | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._ready_since: float | None = None
        self._quiet_seconds = 0.0
        self._loop_age_seconds = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the process, if it is alive."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start without waiting; `on_report` gets Ready when the engine is loaded."""
        self._keeper = asyncio.create_task(self._keep(), name="engine-supervisor")

    async def stop(self, grace_seconds: float) -> None:
        """Ask the process to end, and kill it after a while; none is left when this returns."""
        self._stopping = True
        self.send(Stop())
        if self._process is not None:
            await self._end_process(self._process, grace_seconds)
        elif self._keeper is not None:
            self._keeper.cancel()
        if self._keeper is not None:
            await asyncio.wait({self._keeper})

    def send(self, command: Command) -> None:
        """Send to the process; without one the message is dropped, as `on_lost` takes care of its jobs."""
        if self._end is not None:
            self._end.send(command)

    async def _keep(self) -> None:
        unready_lives = short_lives = 0
        while not self._stopping:
            await self._live()
            lived = 0.0 if self._ready_since is None else time.monotonic() - self._ready_since
            unready_lives = unready_lives + 1 if self._ready_since is None else 0
            short_lives = short_lives + 1 if lived < GOOD_LIFE_SECONDS else 0
            self._on_lost(unready_lives)
            if not self._stopping:
                await asyncio.sleep(self._pause_seconds(short_lives))

    def _pause_seconds(self, short_lives: int) -> float:
        doubled: float = self._backoff_seconds * 2.0 ** min(max(short_lives - 1, 0), 30)
        return min(doubled, self._backoff_max_seconds)

    async def _live(self) -> None:
        """Run one process from its start to its end."""
        closed = asyncio.Event()
        process = await self._spawn(closed)
        stalled = asyncio.create_task(self._stall())
        waits = {stalled, asyncio.create_task(process.wait()), asyncio.create_task(closed.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await self._reap(process, closed, 0.0 if stalled.done() else LAST_WORDS_SECONDS)

    async def _spawn(self, closed: asyncio.Event) -> asyncio.subprocess.Process:
        ours, theirs = pair()
        self._ready_since, self._quiet_seconds, self._loop_age_seconds = None, 0.0, 0.0
        with theirs:
            fd = theirs.fileno()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                "--fd",
                str(fd),
                pass_fds=(fd,),
                stdin=asyncio.subprocess.DEVNULL,
                env=engine_environment(os.environ),
            )
        self._end = AsyncEnd(ours, self._on_message, closed.set)
        self._end.send(Hello(self._settings))
        log.info("engine process %d started", self._process.pid)
        return self._process

    def _on_message(self, message: Message) -> None:
        self._quiet_seconds = 0.0
        match message:
            case Heartbeat(loop_age_seconds=age):
                self._loop_age_seconds = age
            case Ready():
                self._ready_since = time.monotonic()
                self._on_report(message)
            case LoadFailed(message=why):
                log.error("the engine could not be loaded: %s", why)
            case Hello() | Submit() | Cancel() | Stop():
                log.error("an engine process sent a command")
            case _:
                self._on_report(message)

    async def _stall(self) -> None:
        """Return when the process has been silent, or its loop stuck, for too long by this event loop's own time."""
        interval = self._stall_seconds / CHECKS_PER_STALL
        while max(self._quiet_seconds, self._loop_age_seconds) < self._limit_seconds():
            await asyncio.sleep(interval)
            self._quiet_seconds += interval
        log.error("the engine process has not moved on for %.0f s", self._limit_seconds())

    def _limit_seconds(self) -> float:
        return self._load_seconds if self._ready_since is None else self._stall_seconds

    async def _reap(self, process: asyncio.subprocess.Process, closed: asyncio.Event, patience_seconds: float) -> None:
        """Make sure that it is dead, read its last reports, and return how it ended."""
        await _within(patience_seconds, process.wait())
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        status = await process.wait()
        await _within(LAST_WORDS_SECONDS, closed.wait())
        if self._end is not None:
            self._end.close()
        self._end = self._process = None
        level = logging.INFO if self._stopping else logging.ERROR
        log.log(level, "engine process %d ended: %s", process.pid, exit_reason(status))

    async def _end_process(self, process: asyncio.subprocess.Process, grace_seconds: float) -> None:
        for seconds, insist in ((grace_seconds, process.terminate), (TERMINATE_SECONDS, process.kill)):
            if not await _within(seconds, process.wait()):
                with contextlib.suppress(ProcessLookupError):
                    insist()
        await process.wait()


def engine_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The operator's environment, with ENVIRONMENT for what is not set there, under an old name either."""
    own = {name: value for name, value in ENVIRONMENT.items() if FORMER_NAMES.get(name, name) not in given}
    return {**own, **given}


async def _within(seconds: float, happening: Coroutine[Any, Any, Any]) -> bool:
    """Whether it happened in that time."""
    try:
        async with asyncio.timeout(seconds):
            await happening
    except TimeoutError:
        return False
    return True


def exit_reason(status: int) -> str:
    """An exit status in words."""
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
