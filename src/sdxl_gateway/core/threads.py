"""Awaits work that runs on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def finished(job: Future[T], hurry: Callable[[], None] = lambda: None) -> T:
    """The result of `job`. When this is cancelled it calls `hurry`, and still waits until the job has ended.

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
    """The items of an iterable that may block, each fetched on a thread; none of them is None."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item
