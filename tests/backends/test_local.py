"""The desk and the loop together, without a process between them."""

from __future__ import annotations

import asyncio

import pytest

from sdxl_gateway.backends.fake_engine import open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import Failed, Finished, JobEvent
from sdxl_gateway.jobs.subscription import Subscription
from tests.jobs.kit import job


async def to_the_end(subscription: Subscription) -> list[JobEvent]:
    async with asyncio.timeout(10):
        return [event async for event in subscription]


async def test_jobs_are_painted_on_a_thread() -> None:
    backend = LocalBackend(open_fake_engine)
    await backend.start()
    subscription = [await backend.submit(job(blend=str(i), count=2)) for i in range(5)]
    assert {type((await to_the_end(one))[-1]) for one in subscription} == {Finished}
    assert backend.ready
    await backend.stop()
    assert not backend.ready


async def test_a_lost_device_ends_everything() -> None:
    backend = LocalBackend(open_fake_engine)
    await backend.start()
    subscription = [await backend.submit(job("lose-in-step", blend=str(i))) for i in range(3)]
    for one in subscription:
        end = (await to_the_end(one))[-1]
        assert isinstance(end, Failed)
        assert isinstance(end.error, Unavailable)
    with pytest.raises(Unavailable):
        await backend.submit(job())
    await backend.stop()


async def test_stopping_ends_every_job() -> None:
    backend = LocalBackend(open_fake_engine)
    await backend.start()
    subscription = [await backend.submit(job("step-seconds=0.01", steps=1000)) for _ in range(12)]
    await backend.stop()
    for one in subscription:
        end = (await to_the_end(one))[-1]
        assert isinstance(end, Failed)
        assert isinstance(end.error, Unavailable)
