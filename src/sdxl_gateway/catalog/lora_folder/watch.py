"""Watches a folder, and yields whenever something in it has changed."""

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
"""How many seconds after a change files with problems are read again: they may be copies in progress."""
ROUTINE_TICKS = 60
"""How often to look even if no change was reported, since some network drives report none."""
MISSING_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.5
"""The pause before watching again after an error; it doubles each time, up to UNWATCHED_SECONDS."""
UNWATCHED_SECONDS = 15.0
"""The longest pause if the folder cannot be watched, for example because the system's limit of watches is reached."""


async def changes(folder: Path, has_problems: Callable[[], bool], called: str = "LoRA folder") -> AsyncIterator[None]:
    """Yields until cancelled, also for a folder that does not exist yet, or can only be polled.

    `called` is the folder's name in the log.
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
                # Any error: watchfiles raises some of its errors in groups, such as for a name that it cannot decode.
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
