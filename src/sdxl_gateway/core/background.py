"""Keeps background work running: work that fails is reported, and restarted after ever longer pauses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.events import WorkFailed

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 30.0
"""Work that has run for so long since it failed counts as healthy again."""
WRITE_SECONDS = 1.0
"""How often counts in memory are written to the disk; a server that is killed loses no more than that."""


class Background:
    """Runs named coroutines, each until it is cancelled; every failure is announced by `tell`."""

    def __init__(self, tell: Callable[[WorkFailed], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._ailing_until: dict[str, float] = {}

    @property
    def ailing(self) -> tuple[str, ...]:
        """The names of work that failed lately; painting goes on all the same."""
        now = self._clock()
        return tuple(sorted(name for name, until in self._ailing_until.items() if now < until))

    @asynccontextmanager
    async def doing(self, name: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run `work` until the context is left, whatever it raises."""
        task = asyncio.create_task(self._keep_going(name, work))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _keep_going(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            began = self._clock()
            try:
                return await work()
            except Exception as error:
                if self._clock() - began > STEADY_SECONDS:
                    pause_seconds = FIRST_PAUSE_SECONDS
                _log(name, pause_seconds, error)
            self._ailing_until[name] = self._clock() + pause_seconds + STEADY_SECONDS
            self._tell(WorkFailed(name))
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


def _log(name: str, pause_seconds: float, error: Exception) -> None:
    """A full disk, or a server that does not answer, is told by its sentence; whatever else, by where it came up."""
    known = isinstance(error, GatewayError)
    reason = f": {error}" if known else ""
    message = "%s failed and begins again in %g s; pictures are still painted%s"
    log.error(message, name, pause_seconds, reason, exc_info=None if known else error)


async def written_at_intervals(write: Callable[[], Awaitable[None]]) -> None:
    """Call `write` at intervals until this is cancelled, and then once more."""
    try:
        while True:
            await write()
            await asyncio.sleep(WRITE_SECONDS)
    except asyncio.CancelledError:
        with suppress(GatewayError):
            await write()
        raise
