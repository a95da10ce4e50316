"""What is erased while a gateway tells of it or takes it over is nowhere afterwards, whatever came first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.core.batch import Batch, NewBatch
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.gateway import jobs_elsewhere
from sdxl_gateway.shared.batches import SharedBatches
from sdxl_gateway.shared.job_mirror import JobMirror
from sdxl_gateway.shared.jobs import SharedJobs
from tests.kit.batch_fleets import BatchMember, batch_member
from tests.kit.batches import CALLER, GENERATIONS, request
from tests.kit.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[BatchMember, BatchMember]
TENANT = CALLER.tenant
LONG_ENOUGH_SECONDS = 0.3
"""For an erasure that nothing holds up."""


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """Of whom the second has waited for a lease."""
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(jobs_elsewhere, "LOOK_SECONDS", 0.02)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(batch_member(redis, tmp_path / name)) for name in "ab"]
        await a.turn()
        await b.wait_a_lease()
        yield a, b


async def accepted(one: BatchMember) -> Batch:
    file = await one.send(request("a", size="64x64", steps=1))
    return await one.batches.create(NewBatch(file, GENERATIONS, "http://gw", {}), CALLER)


async def erase(one: BatchMember) -> None:
    """As the gateway that was asked does."""
    for erase_elsewhere in (one.batches.erase_elsewhere, one.tasks.erase_elsewhere):
        await erase_elsewhere(TENANT)
    await one.batches.erase(TENANT)
    await one.tasks.erase(TENANT)


class Interrupted:
    """Has a tenant erased between two things that `one` does: before it does `what`, or just after."""

    def __init__(self, one: BatchMember, kind: type, what: str, *, after: bool = False) -> None:
        self._one, self._does, self._after = one, getattr(kind, what), after
        self._kind, self._what = kind, what
        self._erasing: asyncio.Task[None] | None = None

    async def during(self, work: Awaitable[Any]) -> None:
        """Both are over then, and it was erased meanwhile or later."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._kind, self._what, self._interrupted())
            await work
        assert self._erasing is not None
        await self._erasing

    def _interrupted(self) -> Callable[..., Awaitable[Any]]:
        async def does(mirror: Any, *said: Any) -> Any:
            if self._after:
                done = await self._does(mirror, *said)
                await self._erase()
                return done
            await self._erase()
            return await self._does(mirror, *said)

        return does

    async def _erase(self) -> None:
        if self._erasing is None:
            self._erasing = asyncio.create_task(erase(self._one))
            await asyncio.wait([self._erasing], timeout=LONG_ENOUGH_SECONDS)


async def check_gone(redis: RedisServer, *members: BatchMember) -> None:
    """Nothing is there, also not after everybody looked again."""
    for one in [*members, *members]:
        await one.begin_again()
    for one in members:
        assert await one.store.export(TENANT) == await one.one.store.export(TENANT) == []
    assert redis.cli("KEYS", "*:batch:*") == redis.cli("KEYS", "*:job:*") == ""


async def test_a_batch_that_is_being_told_of(two: Two, redis: RedisServer) -> None:
    a, b = two
    await accepted(a)
    await Interrupted(a, SharedBatches, "tell").during(a.batches.recover())
    await check_gone(redis, a, b)


async def test_a_batch_that_is_accepted(two: Two, redis: RedisServer) -> None:
    a, b = two
    await Interrupted(a, SharedBatches, "tell").during(accepted(a))
    await check_gone(redis, a, b)


@pytest.mark.parametrize(("what", "after"), [("take", False), ("take", True), ("lines_of", True)])
async def test_a_batch_that_is_being_taken_over(two: Two, redis: RedisServer, what: str, after: bool) -> None:
    a, b = two
    await accepted(a)
    a.one.vanish()
    await Interrupted(b, SharedBatches, what, after=after).during(b.batches.recover())
    await b.store.sweep()
    await check_gone(redis, b)


async def test_a_batch_that_was_taken_over_and_is_on_no_disk_yet(two: Two, redis: RedisServer) -> None:
    a, b = two
    batch = await accepted(a)
    a.one.vanish()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedBatches, "lines_of", _away)
        await b.batches.recover()
    assert redis.cli("HGET", f"sdxl-gateway:batch:{batch.id}", "by") == b.one.id
    await erase(b)
    await check_gone(redis, b)


async def _away(*_: Any) -> None:
    raise Unavailable("away")


async def test_a_job_that_is_being_told_of(two: Two, redis: RedisServer) -> None:
    a, b = two
    await a.one.accept()
    await a.one.store.tell_again(0.0, 0.0)
    await Interrupted(a, SharedJobs, "tell").during(a.one.fleet.turn())
    await check_gone(redis, a, b)


@pytest.mark.parametrize("after", [False, True])
async def test_a_job_that_is_being_taken_over(two: Two, redis: RedisServer, after: bool) -> None:
    a, b = two
    await a.one.accept()
    a.one.vanish()
    await Interrupted(b, SharedJobs, "take_over", after=after).during(b.one.fleet.turn())
    await check_gone(redis, b)


async def test_a_job_that_was_taken_over_and_is_on_no_disk_yet(two: Two, redis: RedisServer) -> None:
    a, b = two
    job = await a.one.accept()
    a.one.vanish()
    assert await mirror_of(b).take_over(a.one.id, 10) == 1
    assert redis.cli("HGET", f"sdxl-gateway:job:{job}", "by") == b.one.id
    await erase(b)
    await check_gone(redis, b)


def mirror_of(one: BatchMember) -> JobMirror:
    return one.one.mirror


async def test_who_has_still_to_erase_is_not_taken_over_from(two: Two) -> None:
    """Not what the tenant had there, and not what it leaves there until then; others' is."""
    a, b = two
    batch, job = await accepted(a), await a.one.accept()
    b.one.owed[a.one.id] = {TENANT}
    a.one.vanish()
    for _ in range(2):
        await b.turn()
    assert (await b.here(batch.id), await b.one.here(job)) == (False, False)
    assert await b.one.state(job) == "queued"
    await a.turn()
    b.one.owed[a.one.id] = {"another"}
    a.one.vanish()
    await b.one.fleet.turn()
    await b.wait_a_lease()
    assert (await b.here(batch.id), await b.one.here(job)) == (True, True)
