"""Work on a thread: its result comes to the loop, and who is cancelled leaves when it has ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from sdxl_gateway.core.threads import finished


async def test_what_the_work_gives_or_raises_arrives() -> None:
    with ThreadPoolExecutor(1) as threads:
        assert await finished(threads.submit(lambda: 7)) == 7
        with pytest.raises(ZeroDivisionError):
            await finished(threads.submit(lambda: 1 // 0))


async def test_who_is_cancelled_hurries_the_work_and_stays_until_it_has_ended() -> None:
    began, may_end = Event(), Event()

    def work() -> None:
        began.set()
        may_end.wait(20)
        raise OSError("of no interest to anybody")

    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(work)
        waiting = asyncio.create_task(finished(job, may_end.set))
        await asyncio.to_thread(began.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert job.done()


async def test_who_is_cancelled_before_the_work_began_leaves_at_once() -> None:
    may_end = Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(may_end.wait, 20)
        waiting = asyncio.create_task(finished(threads.submit(may_end.wait, 20)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not may_end.is_set()
        may_end.set()
