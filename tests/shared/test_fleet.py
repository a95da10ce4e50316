"""Every accepted job ends once at one gateway of several, whichever of them dies, sleeps or returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.core.stored_job import Ending, JobState
from sdxl_gateway.gateway import jobs_elsewhere
from sdxl_gateway.gateway.fleet.jobs import AGAIN_SECONDS
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.gateway.packed import unpack_error
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.job_outbox import Untold
from sdxl_gateway.storage.job_table import Filter
from tests.kit.fleets import LEASE_SECONDS, Member, member
from tests.kit.gateway import CALLER, noise, upload
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import eventually
from tests.kit.stored_jobs import in_state, over, painting

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[Member, Member]
SLOW = "step-seconds=0.5"


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(jobs_elsewhere, "LOOK_SECONDS", 0.02)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(member(redis, tmp_path / name)) for name in "ab"]
        await a.fleet.turn()
        yield a, b


async def ids_of(tasks: Tasks, **which: JobState) -> list[str]:
    found, _ = await tasks.page(Filter(CALLER.tenant, **which), 100, None, CALLER)
    return [now.job.id for now in found]


async def test_what_is_accepted_at_one_is_known_at_the_other_at_once(two: Two) -> None:
    a, b = two
    mine, theirs = [await a.accept() for _ in range(3)], [await b.accept() for _ in range(2)]
    assert {await a.state(one) for one in theirs} == {await b.state(one) for one in mine} == {JobState.QUEUED}
    listed = [*reversed(mine + theirs)]
    for one in two:
        assert await ids_of(one.tasks) == await ids_of(one.tasks, state=JobState.QUEUED) == listed
        assert await ids_of(one.tasks, state=JobState.COMPLETED) == []
        page, more = await one.tasks.page(Filter(), 2, listed[0], CALLER)
        assert ([now.job.id for now in page], more) == (listed[1:3], True)
        page, more = await one.tasks.page(Filter(), 2, listed[2], CALLER)
        assert ([now.job.id for now in page], more) == (listed[3:], False)


async def test_the_jobs_of_one_that_is_gone_are_painted_by_another(two: Two) -> None:
    a, b = two
    jobs = [await a.accept() for _ in range(5)]
    await b.fleet.turn()
    b.clock.now += LEASE_SECONDS
    await b.fleet.turn()
    assert [await b.here(one) for one in jobs] == [False] * 5
    a.vanish()
    await b.fleet.turn()
    assert [one.job.id for one in await _line(b)] == jobs
    async with painting(b.tasks):
        for one in jobs:
            assert (await over(b.tasks, one)).state is JobState.COMPLETED
    await b.fleet.turn()
    await a.fleet.turn()
    assert [await a.here(one) for one in jobs] == [False] * 5
    assert {await a.state(one) for one in jobs} == {JobState.COMPLETED}
    assert (len(a.ended), sorted(job.id for job in b.ended)) == (0, sorted(jobs))


async def _line(one: Member) -> list[Untold]:
    await one.store.tell_again(0.0, 0.0)
    return await one.store.untold(100)


async def test_nobody_takes_over_before_the_others_could_say_that_they_are_there(two: Two, redis: RedisServer) -> None:
    a, b = two
    await b.wait_a_lease()
    job = await a.accept()
    redis.stop()
    await b.fleet.turn()
    redis.start()
    await a.fleet.turn()
    a.vanish()
    await b.fleet.turn()
    assert not await b.here(job)
    b.clock.now += LEASE_SECONDS
    await b.fleet.turn()
    assert await b.here(job)


async def test_the_late_end_of_one_that_slept_is_dropped(two: Two) -> None:
    a, b = two
    job = await a.accept(SLOW, steps=3)
    async with painting(a.tasks):
        await in_state(a.tasks, job, JobState.IN_PROGRESS)
        await a.fleet.turn()
        a.vanish()
        await b.wait_a_lease()
        taken = await b.store.find(job)
        assert taken is not None
        assert (taken.token, taken.attempts, taken.state) == (2, 1, JobState.QUEUED)
        while job in a.tasks.runner.live:
            await a.tasks.runner.turned.next(0.05)
    assert a.ended == []
    await a.fleet.turn()
    assert not await a.here(job)
    async with painting(b.tasks):
        await over(b.tasks, job)
    await b.fleet.turn()
    assert await a.state(job) is JobState.COMPLETED
    assert [one.id for one in b.ended] == [job]


async def test_an_end_nobody_heard_of_goes_where_the_job_was_taken_over(two: Two, redis: RedisServer) -> None:
    """As of a gateway that is cut off from Redis and the others alone."""
    a, b = two
    job = await a.accept()
    a.vanish()
    await b.wait_a_lease()
    await a.store.end(job, Ending(JobState.FAILED, error="{}"))
    assert await a.state(job) is JobState.FAILED
    await b.tasks.cancel(job, CALLER)
    await b.fleet.turn()
    await a.fleet.turn()
    assert await a.state(job) is await b.state(job) is JobState.CANCELLED


async def test_one_that_wakes_stops_painting_what_was_taken_over(two: Two) -> None:
    a, b = two
    job = await a.accept(SLOW, steps=50)
    async with painting(a.tasks):
        await in_state(a.tasks, job, JobState.IN_PROGRESS)
        a.vanish()
        await b.wait_a_lease()
        await a.fleet.turn()
        while job in a.tasks.runner.live:
            await a.tasks.runner.turned.next(0.05)
        assert await a.state(job) is JobState.QUEUED
    assert not await a.here(job)


async def test_a_follower_stays_with_a_job_that_moves(two: Two) -> None:
    a, b = two
    job = await a.accept()
    events = a.tasks.events(job, CALLER, None)
    await anext(events)
    a.vanish()
    await b.wait_a_lease()
    await a.fleet.turn()
    async with painting(b.tasks):
        await over(b.tasks, job)
    await b.fleet.turn()
    rest = [event async for event in events]
    assert isinstance(rest[-1], JobNow)
    assert rest[-1].state is JobState.COMPLETED


async def test_one_that_was_cut_off_while_it_took_over_finds_what_it_has(
    two: Two, redis: RedisServer, tmp_path: Path
) -> None:
    a, b = two
    jobs = [await a.accept() for _ in range(2)]
    a.vanish()
    assert await b.mirror.take_over(a.id, 10) == 2
    await a.fleet.turn()
    assert [await a.here(one) for one in jobs] == [True, True]
    await b.fleet.turn()
    assert [await b.here(one) for one in jobs] == [True, True]


async def test_pictures_that_came_along_go_along(two: Two, redis: RedisServer, tmp_path: Path) -> None:
    a, b = two
    job = await a.accept(images=[upload(noise((64, 64)))], operation=Operation.EDIT)
    a.vanish()
    await b.wait_a_lease()
    async with painting(b.tasks):
        assert (await over(b.tasks, job)).state is JobState.COMPLETED
    await b.fleet.turn()
    assert redis.cli("KEYS", "*:job-uploads:*") == ""


async def test_a_job_whose_pictures_are_too_large_waits_for_its_own_gateway(redis: RedisServer, tmp_path: Path) -> None:
    async with member(redis, tmp_path / "a", max_upload_bytes=9) as a, member(redis, tmp_path / "b") as b:
        job = await a.accept(images=[upload(noise((64, 64)))], operation=Operation.EDIT)
        await b.wait_a_lease()
        a.vanish()
        await b.fleet.turn()
        assert (await b.here(job), await b.state(job)) == (False, JobState.QUEUED)


async def test_pictures_that_are_gone_end_the_job(two: Two, redis: RedisServer) -> None:
    a, b = two
    job = await a.accept(images=[upload(noise((64, 64)))], operation=Operation.EDIT)
    a.vanish()
    await b.mirror.take_over(a.id, 10)
    redis.cli("DEL", f"sdxl-gateway:job-uploads:{job}")
    await b.fleet.turn()
    ended = (await b.tasks.get(job, CALLER)).job
    assert (ended.state, unpack_error(ended.error or "").message) == (
        JobState.FAILED,
        "The pictures that came with this job are gone.",
    )


async def test_what_ended_each_gateway_that_had_it_is_not_tried_again(two: Two) -> None:
    a, b = two
    job = await a.accept()
    for _ in range(3):
        await a.store.claim([], 1)
        await a.fleet.turn()
        await a.store.give_back(job, counted=True)
    await a.store.claim([], 1)
    await a.fleet.turn()
    a.vanish()
    await b.wait_a_lease()
    assert await b.state(job) is JobState.FAILED


async def test_a_wish_to_cancel_goes_with_the_job(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two
    job, other = await a.accept(), await a.accept()
    monkeypatch.setattr(jobs_elsewhere, "CANCEL_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await b.tasks.cancel(job, CALLER)
    a.vanish()
    await b.wait_a_lease()
    assert (await b.state(job), await b.state(other)) == (JobState.CANCELLED, JobState.QUEUED)
    assert (await b.tasks.cancel(job, CALLER)).state is JobState.CANCELLED


async def test_its_own_gateway_cancels_where_it_is_there(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two
    job = await a.accept()
    monkeypatch.setattr(jobs_elsewhere, "CANCEL_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await b.tasks.cancel(job, CALLER)
    await a.fleet.turn()
    await a.fleet.turn()
    assert [await one.state(job) for one in two] == [JobState.CANCELLED] * 2
    assert (await a.fleet._mirror.look()).cancels == []


async def test_one_that_ends_in_order_leaves_its_jobs_at_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two
    await b.wait_a_lease()
    job = await a.accept()
    async with Background(unheard).doing("fleet", a.fleet.running):
        await asyncio.sleep(0)
    await b.fleet.turn()
    assert await b.here(job)


async def test_erased_jobs_are_known_nowhere(two: Two, redis: RedisServer) -> None:
    a, b = two
    job = await a.accept()
    redis.stop()
    with pytest.raises(Unavailable):
        await a.tasks.erase(CALLER.tenant)
    assert await a.here(job)
    redis.start()
    await a.fleet.turn()
    assert await a.tasks.erase(CALLER.tenant) == 1
    with pytest.raises(NotFound):
        await b.state(job)
    await a.fleet.turn()
    assert not await a.here(job)
    assert "job" not in redis.cli("KEYS", "*")


async def test_erased_jobs_of_one_that_is_gone_are_taken_over_by_nobody(two: Two) -> None:
    a, b = two
    job = await a.accept()
    await b.wait_a_lease()
    await b.tasks.erase_elsewhere(CALLER.tenant)
    a.vanish()
    await b.fleet.turn()
    assert not await b.here(job)


async def test_every_key_has_an_end_and_what_no_gateway_wrote_is_no_job(two: Two, redis: RedisServer) -> None:
    a, b = two
    job = await a.accept(images=[upload(noise((64, 64)))], operation=Operation.EDIT)
    await b.mirror.ask_to_cancel(job)
    assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*").splitlines())
    redis.cli("HSET", f"sdxl-gateway:job:{job}", "record", "x" * 32 + '["forged"]')
    with pytest.raises(NotFound):
        await b.state(job)
    a.vanish()
    await b.wait_a_lease()
    assert not await b.here(job)
    await a.fleet.turn()
    assert await a.here(job)


async def test_a_slow_redis_keeps_no_job_from_being_accepted(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.1)
    redis.timeout_seconds = 0.1
    async with member(redis, tmp_path / "a") as a, member(redis, tmp_path / "b") as b:
        await a.fleet.turn()
        redis.freeze()
        jobs = [await a.accept() for _ in range(3)]
        async with painting(a.tasks):
            assert (await over(a.tasks, jobs[0])).state is JobState.COMPLETED
        with pytest.raises(Unavailable):
            await b.state(jobs[0])
        redis.thaw()

        async def answered() -> bool:
            await a.fleet.turn()
            with suppress(Unavailable):
                return await b.state(jobs[0]) is JobState.COMPLETED
            return False

        assert await eventually(answered)


async def told(one: Member) -> None:
    """Once everything it has is."""

    async def is_told() -> bool:
        await one.fleet.turn()
        return await one.store.untold(1) == []

    assert await eventually(is_told)


async def test_a_full_redis_is_told_when_there_is_room_again(two: Two, redis: RedisServer) -> None:
    a, b = two
    before = await a.accept()
    redis.fill()
    during = await a.accept()
    async with painting(a.tasks):
        for one in (before, during):
            assert (await over(a.tasks, one)).state is JobState.COMPLETED
    await a.fleet.turn()
    assert await b.state(before) is JobState.QUEUED
    await b.wait_a_lease()
    a.vanish()
    await b.fleet.turn()
    assert not await b.here(during)
    redis.empty_out()
    await told(a)
    assert {await b.state(one) for one in (before, during)} == {JobState.COMPLETED}


async def test_one_that_comes_back_empty_is_told_everything_of_the_last_day(two: Two, redis: RedisServer) -> None:
    a, b = two
    done, waiting = await a.accept(), await a.accept(images=[upload(noise((64, 64)))], operation=Operation.EDIT)
    await a.tasks.cancel(done, CALLER)
    await a.fleet.turn()
    redis.stop()
    redis.start()
    await a.fleet.turn()
    assert [await b.state(one) for one in (done, waiting)] == [JobState.CANCELLED, JobState.QUEUED]
    assert len(redis.cli("KEYS", "*:job-uploads:*").splitlines()) == 1


async def test_what_was_taken_over_stays_so_where_redis_lost_it(two: Two, redis: RedisServer) -> None:
    a, b = two
    job = await a.accept()
    a.vanish()
    await b.wait_a_lease()
    redis.stop()
    redis.start()
    await a.fleet.turn()
    await b.fleet.turn()
    async with painting(a.tasks):
        await in_state(a.tasks, job, JobState.IN_PROGRESS)
        await a.fleet.turn()
    assert (await a.here(job), await b.here(job), a.ended) == (False, True, [])


async def test_its_own_gateway_takes_back_what_another_took_and_died(two: Two) -> None:
    a, b = two
    job = await a.accept()
    a.vanish()
    await b.fleet.turn()
    assert await b.mirror.take_over(a.id, 10) == 1
    async with painting(a.tasks):
        await in_state(a.tasks, job, JobState.IN_PROGRESS)
        b.vanish()
        await a.wait_a_lease()
        assert (await over(a.tasks, job)).job.token == 3
    assert [one.id for one in a.ended] == [job]


async def test_what_waits_is_told_again_before_it_would_be_forgotten(two: Two, redis: RedisServer) -> None:
    a, _ = two
    job = await a.accept()
    await a.fleet.turn()
    redis.cli("PEXPIRE", f"sdxl-gateway:job:{job}", "1000000")
    await a.fleet.turn()
    assert int(redis.cli("TTL", f"sdxl-gateway:job:{job}")) <= 1000
    a.clock.now += AGAIN_SECONDS
    await a.fleet.turn()
    assert int(redis.cli("TTL", f"sdxl-gateway:job:{job}")) > 1000
