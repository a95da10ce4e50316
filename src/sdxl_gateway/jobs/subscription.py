"""A follower's stream of a job's events; the job is cancelled when nobody follows it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from sdxl_gateway.core.events import Failed, Finished, JobEvent


class Subscription(AsyncIterator[JobEvent]):
    """One job's events to the last one (a core JobEvents). Closing or dropping it before that cancels the job, unless
    it was detached.

    Waiting for the next event may be cancelled and repeated; no event is lost by that.
    """

    def __init__(self, abandon: Callable[[], None]) -> None:
        self.position = 0
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[JobEvent] = asyncio.Queue()
        self._abandon = abandon
        self._over = False
        self._detached = False

    @property
    def put(self) -> Callable[[JobEvent], None]:
        """The function that adds events; holding it does not keep the subscription alive."""
        return self._events.put_nowait

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> JobEvent:
        if self._over:
            raise StopAsyncIteration
        event = await self._events.get()
        self._over = isinstance(event, Finished | Failed)
        return event

    def detach(self) -> None:
        """From now on neither closing nor dropping the subscription cancels the job; events come as before."""
        self._detached = True

    async def aclose(self) -> None:
        """Stop following; cancels the job unless it is over or detached."""
        if not self._over:
            self._over = True
            if not self._detached:
                self._abandon()

    def __del__(self) -> None:
        """Any thread may collect garbage, so the job is cancelled through the event loop, unless that is closed."""
        if not self._over and not self._detached:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._abandon)
