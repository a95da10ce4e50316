"""Takes work that runs on a thread, gives its result on the event loop, and lets nobody leave before its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def finished(job: Future[T], hurry: Callable[[], None] = lambda: None) -> T:
    """What `job` gives or raises. Who is cancelled meanwhile stays until it has ended, after `hurry` asked it to.

    So whatever the job holds, such as memory that is counted, is free when the caller goes on.
    """
    done = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        if not job.cancel():
            hurry()
            await asyncio.gather(done, return_exceptions=True)
        raise
