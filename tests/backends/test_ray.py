"""Gateways and replicas of a cluster, all in this process: only Ray itself is not there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sdxl_gateway.backends.ray import backend as backend_module
from sdxl_gateway.backends.ray.host import LEASE_SECONDS
from sdxl_gateway.catalog.lora_folder.copies import keep_bytes, store_path
from sdxl_gateway.core.errors import Busy, Cancelled, DeadlineExceeded
from sdxl_gateway.core.events import (
    EngineEvent,
    EngineLost,
    EngineOpened,
    Failed,
    Finished,
    JobEvent,
    JobTakenBack,
    Painted,
    Previewed,
    Started,
)
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.ipc.messages import Cancel, Submit
from sdxl_gateway.jobs.subscription import Subscription
from tests.kit.jobs import job
from tests.kit.replicas import Replica, cluster_of, gateway_of

SLOW = "step-seconds=0.02"
LONG = 10_000


@pytest.fixture(autouse=True)
def looked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "LOOK_SECONDS", 0.01)


async def to_the_end(subscription: Subscription) -> list[JobEvent]:
    async with asyncio.timeout(8):
        return [event async for event in subscription]


async def begun(subscription: Subscription) -> None:
    async with asyncio.timeout(20):
        assert isinstance(await anext(subscription), Started)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 (whatever is waited for tells nobody)
            await asyncio.sleep(0.01)


def given(replica: Replica) -> list[Submit]:
    return [command for command in replica.engine.told if isinstance(command, Submit)]


def given_up(replica: Replica) -> set[str]:
    return {command.job_id for command in replica.engine.told if isinstance(command, Cancel)}


class Heard(list[EngineEvent]):
    def opened(self) -> int:
        return len({event.engine_id for event in self if isinstance(event, EngineOpened)})

    def taken_back(self, reason: str) -> int:
        return sum(isinstance(event, JobTakenBack) and event.reason == reason for event in self)


async def test_a_job_goes_from_submit_to_finished_with_its_looks(tmp_path: Path) -> None:
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster) as gateway:
        events = await to_the_end(await gateway.submit(job(steps=4, count=2, partial_images=1)))
    painted = [event for event in events if isinstance(event, Painted)]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert sorted((event.index, event.picture.pixels) for event in painted) == [(i, bytes([4]) * 64) for i in (0, 1)]
    assert sum(isinstance(event, Previewed) for event in events) == 2


async def test_cancels_deadlines_and_priorities_cross(tmp_path: Path) -> None:
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster) as gateway:
        endless = job(SLOW, steps=LONG, priority=Priority.LOW)
        going = await gateway.submit(endless)
        await begun(going)
        late = await gateway.submit(job(SLOW, steps=LONG, deadline=time.time() + 0.2))
        gateway.cancel(endless.id)
        for subscription, kind in ((going, Cancelled), (late, DeadlineExceeded)):
            last = (await to_the_end(subscription))[-1]
            assert isinstance(last, Failed)
            assert isinstance(last.error, kind)
        first, second = given(cluster.all["one"])
        await until(lambda: given_up(cluster.all["one"]) == {first.job.id, second.job.id})
        assert first.job.priority is Priority.LOW


async def test_what_one_gateway_gave_a_replica_the_other_waits_for_and_then_turns_away(tmp_path: Path) -> None:
    """As it would for jobs of its own: its line fills, and the next hears when to come again."""
    heard = Heard()
    async with (
        cluster_of(tmp_path, "one") as cluster,
        gateway_of(cluster) as first,
        gateway_of(cluster, heard.append, queue_size=2) as second,
    ):
        await to_the_end(await second.submit(job(SLOW)))
        theirs = [await first.submit(job(SLOW, steps=LONG, blend=str(i))) for i in range(12)]
        await until(lambda: len(given(cluster.all["one"])) == 1 + 8)
        await until(lambda: second.wait_seconds > 0)
        waiting = [await second.submit(job(SLOW)) for _ in range(2)]
        with pytest.raises(Busy) as refused:
            await second.submit(job(SLOW))
        assert refused.value.retry_after_seconds
        assert len(given(cluster.all["one"])) == 9
        for one in theirs:
            await one.aclose()
        assert all([isinstance((await to_the_end(one))[-1], Finished) for one in waiting])


async def test_a_lost_replicas_jobs_are_painted_by_another_once(tmp_path: Path) -> None:
    heard = Heard()
    async with cluster_of(tmp_path, "one", "two") as cluster, gateway_of(cluster, heard.append) as gateway:
        await until(lambda: heard.opened() == 2)
        subscriptions = [await gateway.submit(job(SLOW, steps=5)) for _ in range(16)]
        await until(lambda: all(given(replica) for replica in cluster.all.values()))
        await begun(subscriptions[0])
        cluster.all["one"].killed.set()
        ends = [(await to_the_end(one)) for one in subscriptions]
        assert {type(events[-1]) for events in ends} == {Finished}
        assert all(sum(isinstance(event, Painted) for event in events) == 1 for events in ends)
        assert heard.taken_back("lost") >= 1
        assert EngineLost("0") in heard
        await cluster.add("three")
        await until(lambda: sum(event.engine_id == "0" for event in heard if isinstance(event, EngineOpened)) == 2)


async def test_a_replica_that_leaves_paints_what_it_has_begun_and_hands_back_the_rest(tmp_path: Path) -> None:
    heard = Heard()
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster, heard.append) as gateway:
        some = [await gateway.submit(job(SLOW, steps=20, blend=str(i))) for i in range(6)]
        await begun(some[0])
        leaving = asyncio.create_task(cluster.all["one"].host.drain())
        await until(lambda: heard.taken_back("leaving") > 0)
        await cluster.add("two")
        ends = [(await to_the_end(one))[-1] for one in some]
        assert {type(end) for end in ends} == {Finished}
        async with asyncio.timeout(20):
            await leaving
        cluster.all["one"].killed.set()
        await until(lambda: EngineLost("0", for_good=True) in heard)
        assert len(given(cluster.all["two"])) == heard.taken_back("leaving")
        assert heard.taken_back("lost") == 0


async def test_an_engine_that_dies_in_its_replica_is_awaited_and_its_jobs_too(tmp_path: Path) -> None:
    heard = Heard()
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster, heard.append) as gateway:
        await until(lambda: heard.opened() == 1)
        waiting = await gateway.submit(job("never-near", blend="a"))
        await until(lambda: given(cluster.all["one"]))
        await cluster.all["one"].engine.end()
        await until(lambda: heard.taken_back("lost") == 1)
        await until(lambda: len(given(cluster.all["one"])) == 2)
        assert gateway.ready
        await waiting.aclose()


async def test_what_a_gateway_wanted_that_is_gone_is_given_up(tmp_path: Path) -> None:
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster) as other:
        replica = cluster.all["one"]
        await replica.open("gone")
        async with gateway_of(cluster) as gateway:
            held = await gateway.submit(job(SLOW, steps=LONG))
            await begun(held)
        await until(lambda: given_up(replica) == {given(replica)[0].job.id})
        assert isinstance((await to_the_end(await other.submit(job())))[-1], Finished)
        replica.host.sweep(time.monotonic() + 2 * LEASE_SECONDS)
        assert await replica.host.poll("gone", 0.0) is None


async def test_loras_are_brought_by_their_digest_and_only_once(tmp_path: Path) -> None:
    digest = keep_bytes([b"a", b"b"], tmp_path / "gateway")
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster) as gateway:
        for _ in range(2):
            await to_the_end(await gateway.submit(job(blend=digest)))
            assert store_path(tmp_path / "one", digest).read_bytes() == b"ab"
            store_path(tmp_path / "gateway", digest).unlink(missing_ok=True)
        replica = cluster.all["one"]
        lies = hashlib.sha256(b"truth").hexdigest()
        await replica.put("stranger", lies, b"lie", True)
        assert await replica.lacks([lies, digest]) == [lies]


async def test_a_full_replica_refuses_and_the_job_waits_its_turn_again(tmp_path: Path) -> None:
    heard = Heard()
    async with cluster_of(tmp_path, "one") as cluster, gateway_of(cluster, heard.append) as gateway:
        await until(lambda: heard.opened() == 1)
        replica = cluster.all["one"]
        replica.host.most_images = 1
        first, second = await gateway.submit(job(SLOW)), await gateway.submit(job(SLOW))
        for one in (first, second):
            assert isinstance((await to_the_end(one))[-1], Finished)
        assert heard.taken_back("full") >= 1
