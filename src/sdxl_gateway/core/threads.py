"""Takes work that runs on a thread, gives what comes of it on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
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


async def from_thread(items: Iterator[T]) -> AsyncIterator[T]:
    """Each item as it comes, waited for on a thread; `items` may block, and holds no None."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item
