"""A batch of a gateway that is gone is another's, which answers each line once, whatever was painted before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.core.background import Background
from sdxl_gateway.core.batch import Batch, BatchState, NewBatch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.gateway import batch_context, jobs_elsewhere
from sdxl_gateway.shared.batch_mirror import Loose
from tests.kit.batch_fleets import LINES_AT_ONCE, BatchMember, CommonFolder, batch_member
from tests.kit.batches import CALLER, GENERATIONS, request, working
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import eventually
from tests.kit.stored_jobs import over, painting

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[BatchMember, BatchMember]
NAMES = [f"{number:02}" for number in range(12)]
CALLED = replace(CALLER, webhook_url="https://receiver.example/hook")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(jobs_elsewhere, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(batch_context, "PAUSE_SECONDS", 0.02)


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(batch_member(redis, tmp_path / name)) for name in "ab"]
        await a.turn()
        yield a, b


async def accepted(one: BatchMember) -> Batch:
    """One whose lines are called NAMES."""
    file = await one.send(*[request(name, size="64x64", steps=1) for name in NAMES])
    return await one.batches.create(NewBatch(file, GENERATIONS, "http://gw", {}), CALLED)


async def half_done(one: BatchMember) -> Batch:
    """The batch, some lines of which have an answer, and of which others know as much."""
    batch = await accepted(one)
    async with working(one):
        await one.once(batch.id, lambda batch: batch.completed >= 4)
    await one.begin_again()
    return await one.batches.get(batch.id, CALLER)


async def check_whole(one: BatchMember, batch: Batch) -> None:
    """Each line has one answer, in order, and its end is told once."""
    assert (batch.state, batch.total, batch.completed, batch.failed) == (BatchState.COMPLETED, 12, 12, 0)
    assert [line["custom_id"] for line in await one.lines_of(batch.output_file)] == NAMES
    assert batch.error_file is None
    assert await one.webhooks() == [(batch.id, "batch.completed")]


async def test_what_was_answered_is_not_painted_again(two: Two, redis: RedisServer) -> None:
    a, b = two
    batch = await half_done(a)
    before = await a.painted(batch.id)
    assert 4 <= len(before) < 12
    a.one.vanish()
    await b.turn()
    assert not await b.here(batch.id)
    await b.wait_a_lease()
    assert await b.here(batch.id)
    async with working(b):
        ended = await b.over(batch.id)
    assert not set(await b.painted(batch.id)) & set(before)
    await check_whole(b, ended)
    await b.turn()
    await a.turn()
    assert (await a.here(batch.id), await a.webhooks()) == (False, [])
    assert await a.batches.get(batch.id, CALLER) == ended
    assert redis.cli("KEYS", "*batch-lines*") == redis.cli("ZRANGE", "sdxl-gateway:batches-open", "0", "-1") == ""
    jobs = redis.cli("ZRANGE", f"sdxl-gateway:batch-jobs:{batch.id}", "0", "-1").splitlines()
    assert len(jobs) == 12
    assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*").splitlines())


async def test_lines_that_are_on_their_way_here_are_waited_for(two: Two) -> None:
    """Their jobs are this gateway's, and on no disk of its own yet."""
    a, b = two
    batch = await accepted(a)

    async def waiting() -> bool:
        return len(await a.one.store.lines(batch.id)) == LINES_AT_ONCE

    async with Background(unheard).doing("batches", a.batches.running):
        assert await eventually(waiting)
    await a.turn()
    jobs = await a.one.store.lines(batch.id)
    a.one.vanish()
    assert await b.one.mirror.take_over(a.one.id, 50) == LINES_AT_ONCE
    assert await b.tasks.lines(batch) == jobs
    await b.one.fleet.turn()
    assert await b.tasks.lines(batch) == jobs


async def test_one_that_was_not_read_yet_is_read_by_another(two: Two) -> None:
    a, b = two
    batch = await accepted(a)
    a.one.vanish()
    await b.wait_a_lease()
    async with working(b):
        await check_whole(b, await b.over(batch.id))


async def test_one_that_wakes_lets_go_of_what_was_taken_over(two: Two) -> None:
    a, b = two
    batch = await half_done(a)
    a.one.vanish()
    await b.wait_a_lease()
    async with working(a):
        await a.turn()
        assert not await a.here(batch.id)
    await a.begin_again()
    async with painting(a.tasks), Background(unheard).doing("fleet", a.one.fleet.running), working(b):
        await check_whole(b, await b.over(batch.id))


async def test_one_that_was_taken_over_is_not_ended_by_who_had_it(two: Two) -> None:
    a, b = two
    batch = await half_done(a)
    a.one.vanish()
    assert await b.mirror.take(Loose(batch.id, a.one.id, 1))
    async with working(a):
        await a.once(batch.id, lambda batch: batch.state is BatchState.FINALIZING and batch.completed == 12)
        await b.turn()
        await a.turn()
        assert (await a.here(batch.id), await b.here(batch.id), await a.webhooks()) == (False, True, [])
    await a.turn()
    async with working(b):
        await check_whole(b, await b.over(batch.id))
    assert await b.painted(batch.id) == []


async def test_an_end_nobody_heard_of_goes_where_the_batch_was_taken_over(two: Two) -> None:
    a, b = two
    batch = await accepted(a)
    async with working(a):
        lost = await a.over(batch.id)
    await a.one.fleet.turn()
    a.one.vanish()
    await b.wait_a_lease()
    async with working(b):
        ended = await b.over(batch.id)
    assert await b.painted(batch.id) == []
    await b.turn()
    await a.turn()
    await check_whole(b, ended)
    assert await a.batches.get(batch.id, CALLER) == ended
    assert await a.webhooks() == []
    with pytest.raises(NotFound):
        await a.files.find(lost.output_file or "", CALLER.tenant)


async def test_its_own_gateway_takes_back_what_another_took_and_died(two: Two) -> None:
    a, b = two
    batch = await half_done(a)
    a.one.vanish()
    assert await b.mirror.take(Loose(batch.id, a.one.id, 1))
    assert not await b.mirror.take(Loose(batch.id, a.one.id, 1))
    b.one.vanish()
    await a.wait_a_lease()
    back = await a.batches.get(batch.id, CALLER)
    assert (back.token, back.completed) == (3, batch.completed)
    async with working(a):
        await check_whole(a, await a.over(batch.id))


async def test_a_batch_that_was_cut_off_from_its_jobs_waits_for_them(two: Two, redis: RedisServer) -> None:
    a, b = two
    batch = await half_done(a)
    a.one.vanish()
    await b.wait_a_lease()
    taken = await b.one.store.lines(batch.id)
    redis.stop()
    async with working(b):
        await asyncio.sleep(0.1)
        assert await b.one.store.lines(batch.id) == taken
        redis.start()
        await a.turn()
        await b.turn()
        await check_whole(b, await b.over(batch.id))


async def test_requests_out_of_reach_wait_for_their_gateway(redis: RedisServer, tmp_path: Path) -> None:
    """Its jobs do not: they are painted by the other, and answers when it is back."""
    async with batch_member(redis, tmp_path / "b", max_upload_bytes=9) as b:
        async with batch_member(redis, tmp_path / "a", max_upload_bytes=9) as a:
            await b.wait_a_lease()
            batch = await half_done(a)
            a.one.vanish()
        await b.turn()
        assert not await b.here(batch.id)
        taken = await b.one.store.lines(batch.id)
        async with painting(b.tasks):
            for job_id in taken.values():
                await over(b.tasks, job_id)
        await b.turn()
        async with batch_member(redis, tmp_path / "a", max_upload_bytes=9) as a, working(a):
            await check_whole(a, await a.over(batch.id))
            assert not set(await a.painted(batch.id)) & taken.keys()


async def test_large_requests_are_read_again_where_the_file_is_in_a_bucket(redis: RedisServer, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        opening = [batch_member(redis, tmp_path / name, blobs=CommonFolder, max_upload_bytes=9) for name in "ab"]
        a, b = [await stack.enter_async_context(one) for one in opening]
        await b.wait_a_lease()
        batch = await half_done(a)
        a.one.vanish()
        await b.turn()
        async with working(b):
            await check_whole(b, await b.over(batch.id))


async def test_pictures_out_of_reach_are_painted_again(redis: RedisServer, tmp_path: Path) -> None:
    async with batch_member(redis, tmp_path / "a") as a, batch_member(redis, tmp_path / "b") as b:
        b.form._images = b.one.images
        b.one.images._put = 1000
        batch = await half_done(a)
        before = await a.painted(batch.id)
        a.one.vanish()
        await b.wait_a_lease()
        async with working(b):
            await check_whole(b, await b.over(batch.id))
        assert set(before) <= set(await b.painted(batch.id))
        again = await b.lines_of((await b.batches.get(batch.id, CALLER)).output_file)
        assert all(line["response"]["body"]["data"][0]["b64_json"] for line in again)


async def test_a_wish_to_cancel_goes_with_the_batch(two: Two) -> None:
    a, b = two
    batch = await half_done(a)
    assert (await b.batches.cancel(batch.id, CALLER)).state is BatchState.CANCELLING
    a.one.vanish()
    await b.wait_a_lease()
    await b.turn()
    async with working(b):
        ended = await b.over(batch.id)
    assert (ended.state, ended.completed + ended.failed) == (BatchState.CANCELLED, 12)
    lines = [*await b.lines_of(ended.output_file), *await b.lines_of(ended.error_file)]
    assert sorted(line["custom_id"] for line in lines) == NAMES
    assert len(await b.lines_of(ended.output_file)) >= batch.completed


async def test_one_that_ends_in_order_leaves_its_batches_at_once(two: Two) -> None:
    a, b = two
    await b.wait_a_lease()
    batch = await accepted(a)
    works = Background(unheard)
    async with works.doing("fleet", a.one.fleet.running), works.doing("batches", a.batches.sharing):
        await asyncio.sleep(0)
    await b.turn()
    assert await b.here(batch.id)


async def test_one_that_is_erased_elsewhere_is_taken_over_by_nobody(two: Two, redis: RedisServer) -> None:
    a, b = two
    batch = await half_done(a)
    a.one.vanish()
    assert await b.batches.erase(CALLER.tenant) == 0
    assert await b.batches.get(batch.id, CALLER)
    await b.batches.erase_elsewhere(CALLER.tenant)
    await b.wait_a_lease()
    assert not await b.here(batch.id)
    assert batch.id not in redis.cli("KEYS", "*batch:*")


async def test_what_was_painted_is_read_elsewhere_meanwhile(two: Two) -> None:
    a, b = two
    batch = await half_done(a)
    here, there = [[json.loads(line) async for line in one.batches.answers(batch.id, CALLER)] for one in two]
    assert len(here) == batch.completed
    assert [line["custom_id"] for line in there] == await a.painted(batch.id)
    bodies = {line["custom_id"]: line["response"]["body"] for line in there}
    assert all(line["response"]["body"] == bodies[line["custom_id"]] for line in here)
    with pytest.raises(NotFound):
        await anext(b.batches.answers(batch.id, Caller(tenant="other")))
    new = await accepted(a)
    assert [line async for line in b.batches.answers(new.id, CALLER)] == []


async def test_what_runs_elsewhere_may_be_out_of_reach(redis: RedisServer, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        opening = [batch_member(redis, tmp_path / name, max_upload_bytes=9) for name in "ab"]
        a, b = [await stack.enter_async_context(one) for one in opening]
        batch = await half_done(a)
        with pytest.raises(Unavailable):
            await anext(b.batches.answers(batch.id, CALLER))
