"""Takes a job's events from the desk; gives them to whoever follows the job, and cancels when nobody does any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from sdxl_gateway.core.events import Failed, Finished, JobEvent


class Subscription(AsyncIterator[JobEvent]):
    """One job's events to the last one. Closing it, or letting go of it, before that cancels the job.

    Waiting for the next event may itself be cancelled and tried again: no event is lost by it.
    """

    def __init__(self, abandon: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[JobEvent] = asyncio.Queue()
        self._abandon = abandon
        self._over = False

    @property
    def put(self) -> Callable[[JobEvent], None]:
        """Where the events go in; does not keep the follower alive."""
        return self._events.put_nowait

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> JobEvent:
        if self._over:
            raise StopAsyncIteration
        event = await self._events.get()
        self._over = isinstance(event, Finished | Failed)
        return event

    async def aclose(self) -> None:
        if not self._over:
            self._over = True
            self._abandon()

    def __del__(self) -> None:
        """Any thread may collect garbage, so the desk is told through its loop; a closed loop has no desk any more."""
        if not self._over:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._abandon)
