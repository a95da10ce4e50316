"""Takes a folder, gives a tick whenever something in it changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from watchfiles import awatch

log = logging.getLogger(__name__)

DEBOUNCE_MS = 200
TICK_MS = 1000
RETRY_TICKS = 5
"""After a change, how many seconds a broken file is looked at again: it may be a copy in progress."""
ROUTINE_TICKS = 60
"""How often to look without being told: some network drives tell nothing."""
MISSING_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.5
"""Watching that broke off is tried again so soon, then ever later, up to UNWATCHED_SECONDS."""
UNWATCHED_SECONDS = 15.0
"""How often to look where nothing can be watched, as when the system's limit of watches is reached."""


async def changes(folder: Path, has_problems: Callable[[], bool], called: str = "LoRA folder") -> AsyncIterator[None]:
    """Ticks until cancelled; a folder that is not there yet is waited for, one that cannot be watched is looked at.

    `called` is what the log calls it.
    """
    pause_seconds = min(FIRST_PAUSE_SECONDS, UNWATCHED_SECONDS)
    while True:
        if await asyncio.to_thread(folder.is_dir):
            yield
            began = time.monotonic()
            try:
                async for _ in _ticks(folder, has_problems):
                    yield
            except Exception as error:
                # Any at all: watchfiles wraps some of its errors into groups, such as that of a name it cannot decode.
                if time.monotonic() - began > UNWATCHED_SECONDS:
                    pause_seconds = FIRST_PAUSE_SECONDS
                log.warning("the %s is not watched, and looked at in %g s: %r", called, pause_seconds, error)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, UNWATCHED_SECONDS)
        else:
            await asyncio.sleep(MISSING_SECONDS)


async def _ticks(folder: Path, has_problems: Callable[[], bool]) -> AsyncIterator[None]:
    quiet = 0
    async for changed in awatch(
        folder, debounce=DEBOUNCE_MS, step=50, rust_timeout=TICK_MS, yield_on_timeout=True, watch_filter=None
    ):
        quiet = 0 if changed else quiet + 1
        if changed or quiet % ROUTINE_TICKS == 0 or (quiet <= RETRY_TICKS and has_problems()):
            yield
        if not await asyncio.to_thread(folder.is_dir):
            return
