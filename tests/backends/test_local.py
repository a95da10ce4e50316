"""The dispatcher and the loop together, without a process between them."""

from __future__ import annotations

import asyncio
import time

import pytest

from sdxl_gateway.backends.fake_engine import READY, open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.core.errors import Cancelled, DeadlineExceeded, Unavailable
from sdxl_gateway.core.events import (
    EngineEvent,
    EngineLost,
    EngineOpened,
    Failed,
    Finished,
    JobAssigned,
    JobEvent,
    Measured,
    Started,
    StepTaken,
)
from sdxl_gateway.jobs.subscription import Subscription
from tests.kit.backends import StepsTaken
from tests.kit.jobs import job


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


@pytest.mark.parametrize("collected", [False, True])
async def test_a_detached_job_outlives_its_listener(collected: bool) -> None:
    taken = StepsTaken(20)
    backend = LocalBackend(open_fake_engine, listener=taken)
    await backend.start()
    events = await backend.submit(job("step-seconds=0.001", steps=20))
    events.detach()
    if collected:
        del events
    else:
        await events.aclose()
        assert [event async for event in events] == []
    await taken.all()
    assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)
    assert (backend.waiting, backend.running) == (0, 0)
    await backend.stop()


async def test_who_is_detached_may_go_on_listening_and_cancel_by_name() -> None:
    backend = LocalBackend(open_fake_engine)
    await backend.start()
    one = job("step-seconds=0.01", steps=1000)
    events = await backend.submit(one)
    events.detach()
    assert isinstance(await anext(events), Started)
    backend.cancel(one.id)
    end = (await to_the_end(events))[-1]
    assert isinstance(end, Failed)
    assert isinstance(end.error, Cancelled)
    await backend.stop()


async def test_times_are_those_of_the_wall_clock() -> None:
    backend = LocalBackend(open_fake_engine)
    await backend.start()
    late = await backend.submit(job("step-seconds=0.01", steps=1000, deadline=time.time() + 0.2))
    events = await to_the_end(late)
    started, end = events[0], events[-1]
    assert isinstance(started, Started)
    assert 0 <= started.waited_seconds < 10
    assert isinstance(end, Failed)
    assert isinstance(end.error, DeadlineExceeded)
    await backend.stop()


async def test_measurements_bear_the_engine_and_its_loss_is_told() -> None:
    heard: list[EngineEvent] = []
    backend = LocalBackend(open_fake_engine, listener=heard.append)
    await backend.start()
    await to_the_end(await backend.submit(job(steps=2)))
    await backend.stop()
    opened = EngineOpened("0", READY.device, READY.dtype, READY.card)
    assigned = JobAssigned("0", "blend")
    assert heard == [opened, assigned, *[Measured("0", StepTaken(0.0, 1, 1.0))] * 2, EngineLost("0")]


async def test_stopping_one_that_was_not_started() -> None:
    await LocalBackend(open_fake_engine).stop()
