"""A real engine process with a fake engine: jobs, deaths, restarts, cancels."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sdxl_gateway.backends.fake_engine import READY
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.backends.process.supervisor import ENVIRONMENT, engine_environment
from sdxl_gateway.config import Engine, EngineProcess, Loras, Memory
from sdxl_gateway.core.errors import AdapterRefused, Cancelled, DeadlineExceeded, EngineFault, Unavailable
from sdxl_gateway.core.events import (
    EngineEvent,
    EngineLost,
    Failed,
    Finished,
    JobEvent,
    Measured,
    Measurement,
    Painted,
    Previewed,
    Started,
    StepTaken,
)
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.jobs.subscription import Subscription
from tests.kit.backends import EnginesOpened, StepsTaken
from tests.kit.jobs import job

FAKE = (sys.executable, "-m", "tests.backends.fake_engine_process")
SLOW = "step-seconds=0.05"


def config(**engine: float) -> EngineProcess:
    settings = Engine.model_validate({"restart_backoff_seconds": 0.01} | engine)
    return EngineProcess(data_directory=Path("data"), engine=settings, memory=Memory(), checkpoints={}, loras=Loras())


@asynccontextmanager
async def running(
    *,
    command: tuple[str, ...] = FAKE,
    queue_size: int = 64,
    listener: EngineListener = lambda _: None,
    engines: int = 1,
    **engine: float,
) -> AsyncIterator[ProcessBackend]:
    configs = [config(**engine)] * engines
    backend = ProcessBackend(configs, queue_size=queue_size, listener=listener, command=command)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop(grace_seconds=1.0)
    assert not backend.pids


def both(one: EngineListener, other: EngineListener) -> EngineListener:
    def tell(event: EngineEvent) -> None:
        one(event)
        other(event)

    return tell


async def to_the_end(subscription: Subscription) -> list[JobEvent]:
    async with asyncio.timeout(30):
        return [event async for event in subscription]


async def until_started(subscription: Subscription) -> None:
    async with asyncio.timeout(20):
        assert isinstance(await anext(subscription), Started)


def ended_in(events: list[JobEvent], kind: type[Exception]) -> bool:
    assert isinstance(events[-1], Failed), events[-1]
    assert isinstance(events[-1].error, kind), events[-1]
    return True


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("given", "expected"), [(None, "5000"), ("7", "7")])
async def test_threads_spin_briefly_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    monkeypatch.setenv("KEPT", "yes")
    async with running() as backend:
        await to_the_end(await backend.submit(job()))
        (pid,) = backend.pids
        environment = environment_of(pid)
    assert f"GOMP_SPINCOUNT={expected}".encode() in environment
    assert b"CUDA_DEVICE_ORDER=PCI_BUS_ID" in environment
    assert b"KEPT=yes" in environment


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": "backend:native"}, "backend:native"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, None),
    ],
)
def test_what_an_engine_process_is_told_of_memory(given: dict[str, str], expected: str | None) -> None:
    found = engine_environment(given | {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"})
    assert found.get("PYTORCH_ALLOC_CONF") == expected
    assert found.items() >= given.items()
    assert found["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert engine_environment({})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


async def test_a_job_goes_from_submit_to_finished() -> None:
    measured: list[Measurement] = []

    def listen(event: EngineEvent) -> None:
        if isinstance(event, Measured):
            measured.append(event.measurement)

    async with running(listener=listen) as backend:
        events = await to_the_end(await backend.submit(job(steps=4, count=2, partial_images=1)))
        assert backend.ready
        assert backend.engines == [READY]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    painted = [e for e in events if isinstance(e, Painted)]
    assert [(e.index, e.seed) for e in painted] == [(0, 7), (1, 8)]
    assert painted[0].picture.pixels == bytes([4]) * 64
    assert [(e.index, e.partial_index, e.picture.pixels[0]) for e in events if isinstance(e, Previewed)] == [
        (0, 0, 2),
        (1, 0, 2),
    ]
    assert any(isinstance(m, StepTaken) and m.lanes == 2 for m in measured)


async def test_a_killed_engine_fails_what_runs_and_the_rest_is_painted_after_the_restart() -> None:
    async with running(max_lanes=1) as backend:
        begun = await backend.submit(job(SLOW, steps=1000))
        await until_started(begun)
        others = [await backend.submit(job(blend=str(i))) for i in range(5)]
        os.kill(backend.pids[0], signal.SIGKILL)
        events = await to_the_end(begun)
        ended_in(events, Unavailable)
        assert not backend.ready
        for other in others:
            assert isinstance((await to_the_end(other))[-1], Finished)
        assert backend.ready


def painted(tasks: list[asyncio.Task[list[JobEvent]]]) -> int:
    return sum(task.done() and isinstance(task.result()[-1], Finished) for task in tasks)


async def test_engines_killed_again_and_again_lose_no_job_and_end_none_twice() -> None:
    chance = random.Random(5)
    async with running(max_lanes=2) as backend:
        subscription = [
            await backend.submit(job("step-seconds=0.01", blend=str(i % 3), tenant="ab"[i % 2])) for i in range(60)
        ]
        ends = [asyncio.create_task(to_the_end(one)) for one in subscription]
        for _ in range(4):
            enough = painted(ends) + chance.randint(1, 8)
            while painted(ends) < enough:
                await asyncio.wait([t for t in ends if not t.done()], return_when=asyncio.FIRST_COMPLETED)
            for pid in backend.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        events = await asyncio.gather(*ends)
    assert all(sum(isinstance(e, Finished | Failed) for e in one) == 1 for one in events)
    failed = [one[-1].error for one in events if isinstance(one[-1], Failed)]
    assert all(isinstance(error, Unavailable) for error in failed)
    assert len(failed) <= 4 * 4


@pytest.mark.parametrize("phase", ["begin", "step", "preview", "finish"])
async def test_an_engine_that_dies_in_any_phase_is_restarted(phase: str) -> None:
    async with running() as backend:
        ended_in(await to_the_end(await backend.submit(job(f"die-in-{phase}", partial_images=1))), Unavailable)
        assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)


async def test_a_job_that_kills_every_engine_before_it_starts_is_given_up() -> None:
    async with running() as backend:
        ended_in(await to_the_end(await backend.submit(job("die-in-prefetch"))), EngineFault)
        assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)


async def test_a_stalled_engine_is_killed_and_replaced() -> None:
    async with running(stall_seconds=0.5) as backend:
        ended_in(await to_the_end(await backend.submit(job("hang-in-step"))), Unavailable)
        assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)


async def test_faults_stay_with_their_job() -> None:
    async with running() as backend:
        subscription = [
            await backend.submit(job(p, blend=str(i))) for i, p in enumerate(["raise-in-step", "refuse", ""])
        ]
        faulty, refused, good = [await to_the_end(f) for f in subscription]
    ended_in(faulty, EngineFault)
    assert isinstance(faulty[-1], Failed)
    assert "secret" not in str(faulty[-1].error)
    ended_in(refused, AdapterRefused)
    assert isinstance(good[-1], Finished)


async def test_cancel_while_painting_and_by_letting_go() -> None:
    async with running(max_lanes=1) as backend:
        first = await backend.submit(job(SLOW, steps=1000))
        await until_started(first)
        second = await backend.submit(job(SLOW, steps=1000))
        third = await backend.submit(job())
        await first.aclose()
        del second
        assert isinstance((await to_the_end(third))[-1], Finished)


async def test_the_deadline_ends_a_job_wherever_it_is() -> None:
    async with running(max_lanes=1) as backend:
        hung = await backend.submit(job("hang-in-step", deadline=time.time() + 3))
        queued = await backend.submit(job(deadline=time.time() + 3))
        ended_in(await to_the_end(hung), DeadlineExceeded)
        ended_in(await to_the_end(queued), DeadlineExceeded)


async def test_an_engine_that_never_loads_closes_the_door() -> None:
    async with running(command=(*FAKE, "--refuse-to-load")) as backend:
        ended_in(await to_the_end(await backend.submit(job())), Unavailable)
        with pytest.raises(Unavailable):
            await backend.submit(job())


async def test_stopping_ends_every_job() -> None:
    backend = ProcessBackend([config()], queue_size=64, command=FAKE)
    await backend.start()
    subscription = [await backend.submit(job(SLOW, steps=1000)) for _ in range(20)]
    await until_started(subscription[0])
    pids = backend.pids
    await backend.stop()
    for one in subscription:
        ended_in(await to_the_end(one), Unavailable)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


async def test_cancelled_is_told_to_who_still_follows() -> None:
    async with running() as backend:
        the_job = job(SLOW, steps=1000)
        subscription = await backend.submit(the_job)
        await until_started(subscription)
        backend.cancel(the_job.id)
        ended_in(await to_the_end(subscription), Cancelled)


@pytest.mark.parametrize("collected", [False, True])
async def test_a_detached_job_outlives_its_listener(collected: bool) -> None:
    taken = StepsTaken(12)
    async with running(listener=taken) as backend:
        subscription = await backend.submit(job("step-seconds=0.01", steps=12))
        subscription.detach()
        if collected:
            del subscription
        else:
            await subscription.aclose()
        await taken.all()
        assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)
        assert (backend.waiting, backend.running) == (0, 0)


async def test_each_of_several_engines_has_an_id_and_keeps_it() -> None:
    heard: list[EngineEvent] = []
    opened = EnginesOpened(2)
    async with running(listener=both(opened, heard.append), engines=2, max_lanes=1) as backend:
        await opened.all()
        jobs = [await backend.submit(job("step-seconds=0.01", blend=str(number), steps=20)) for number in range(8)]
        ends = await asyncio.gather(*map(to_the_end, jobs))
        assert {type(events[-1]) for events in ends} == {Finished}
        assert len(backend.pids) == 2
        assert {event.engine_id for event in heard if isinstance(event, Measured)} == {"0", "1"}
        os.kill(backend.pids[0], signal.SIGKILL)
        while not (losses := [event for event in heard if isinstance(event, EngineLost)]):
            assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)
        (lost,) = losses
        assert backend.ready
        heard.clear()
        while not any(isinstance(event, Measured) and event.engine_id == lost.engine_id for event in heard):
            await asyncio.gather(*[to_the_end(await backend.submit(job(blend=str(n)))) for n in range(8)])


async def test_what_a_killed_engine_had_begun_is_painted_by_the_other() -> None:
    opened = EnginesOpened(2)
    async with running(listener=opened, engines=2, max_lanes=1) as backend:
        await opened.all()
        begun = [await backend.submit(job("step-seconds=0.02", blend=str(number), steps=30)) for number in range(2)]
        for one in begun:
            await until_started(one)
        os.kill(backend.pids[0], signal.SIGKILL)
        for one in begun:
            events = await to_the_end(one)
            assert isinstance(events[-1], Finished)
            assert not any(isinstance(event, Started) for event in events), "that was told before"


async def test_a_job_that_kills_whoever_begins_it_ends_and_both_engines_return() -> None:
    opened, again = EnginesOpened(2), EnginesOpened(4)
    async with running(listener=both(opened, again), engines=2) as backend:
        await opened.all()
        ended_in(await to_the_end(await backend.submit(job("die-in-begin"))), Unavailable)
        assert isinstance((await to_the_end(await backend.submit(job())))[-1], Finished)
        await again.all()
