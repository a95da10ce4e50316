"""A job that is asked for again under its Idempotency-Key is one job, whichever gateways were about to accept it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.api.endpoints.once import REPLAYED
from sdxl_gateway.core.errors import Busy, KeyInUse
from sdxl_gateway.core.stored_job import JobKey, JobState, StoredJob
from sdxl_gateway.gateway.fleet.jobs import JobFleet
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.storage.idempotency import KeptReplies
from sdxl_gateway.storage.jobs import JobStore
from tests.kit.api import GENERATE
from tests.kit.fleets import Member, member
from tests.kit.gateway import CALLER
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.stored_jobs import over, painting

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
KEY = JobKey("k", "asked", 86400.0)
Two = tuple[Member, Member]


class Killed(Exception):
    """A gateway, between two things it does."""


async def _killed(*_: Any) -> None:
    raise Killed


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(member(redis, tmp_path / name)) for name in "ab"]
        for one in (a, b):
            await one.fleet.turn()
        yield a, b


async def accept(one: Member, key: JobKey = KEY) -> str:
    return await one.accept(key=key)


async def killed_while_it_accepts(one: Member, what: type, then: str) -> None:
    """When it is to do `then`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(what, then, _killed)
        with pytest.raises(Killed):
            await accept(one)


def job_of(now: JobNow | None) -> StoredJob:
    assert now is not None
    return now.job


async def test_what_one_accepted_the_other_finds_under_the_key(two: Two) -> None:
    a, b = two
    job = await accept(a)
    for one in two:
        assert job_of(await one.tasks.by_key(KEY)).id == job
        assert await one.tasks.by_key(JobKey("another", "asked", 86400.0)) is None
        assert await one.tasks.by_key(JobKey("k", "asked", 0.0)) is None
    with pytest.raises(KeyInUse):
        await accept(b)


async def test_who_was_killed_before_it_told_of_the_job_has_accepted_the_others(two: Two) -> None:
    a, b = two
    await killed_while_it_accepts(a, JobFleet, "tell_now")
    (untold,) = await a.store.untold(10)
    assert await b.tasks.by_key(KEY) is None
    assert await accept(b) == untold.job.id
    assert job_of(await b.tasks.by_key(KEY)).token == 2
    async with painting(a.tasks):
        await a.fleet.turn()
        assert not await a.here(untold.job.id)
    async with painting(b.tasks):
        await over(b.tasks, untold.job.id)
    await b.fleet.turn()
    assert ([one.id for one in b.ended], a.ended) == ([untold.job.id], [])
    assert job_of(await a.tasks.by_key(KEY)).state is JobState.COMPLETED


async def test_who_was_killed_before_the_job_was_on_the_disk_leaves_only_its_id(two: Two) -> None:
    a, b = two
    await killed_while_it_accepts(a, JobStore, "add")
    job = await accept(b)
    await a.fleet.turn()
    assert await a.store.find(job) is None
    assert job_of(await a.tasks.by_key(KEY)).id == job


async def test_who_only_slept_and_is_first_after_all_has_the_job(two: Two) -> None:
    a, b = two
    late = await a.tasks._others.reserve(KEY)
    await killed_while_it_accepts(b, JobStore, "add")
    assert late[1] == 1
    assert (await a.tasks._others.reserve(KEY)) == (late[0], 3)


async def test_a_refused_one_may_be_asked_for_again_and_another_instead(two: Two) -> None:
    a, b = two
    a.tasks._settings = a.tasks._settings.model_copy(update={"waiting_per_tenant": 0})
    with pytest.raises(Busy):
        await accept(a)
    assert await b.tasks.by_key(KEY) is None
    other = JobKey(KEY.digest, "something else", KEY.seconds)
    job = await accept(b, other)
    found = job_of(await a.tasks.by_key(KEY))
    assert (found.id, found.fingerprint, found.token) == (job, "something else", 1)


async def test_a_redis_that_forgot_is_told_of_keys_too(two: Two, redis: RedisServer) -> None:
    a, b = two
    job = await accept(a)
    redis.cli("FLUSHALL")
    await a.fleet.turn()
    assert job_of(await b.tasks.by_key(KEY)).id == job
    assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*job-key*").splitlines())
    await a.tasks.erase(CALLER.tenant)
    assert redis.cli("KEYS", "*job*") == ""


async def test_without_redis_each_knows_its_own(two: Two, redis: RedisServer) -> None:
    a, b = two
    redis.stop()
    job = await accept(a)
    assert job_of(await a.tasks.by_key(KEY)).id == job
    assert await b.tasks.by_key(KEY) is None


async def test_nobody_who_only_writes_into_redis_names_a_job(two: Two, redis: RedisServer) -> None:
    a, b = two
    victim = await a.accept()
    await b.tasks._others.reserve(KEY)
    redis.cli("HSET", "sdxl-gateway:job-key:k", "id", "job_other", "told", "x" * 32 + f'"{victim}"')
    assert await accept(b) != victim
    redis.cli("HSET", "sdxl-gateway:job-key:k", "id", victim)
    assert await a.tasks.by_key(KEY) is None


async def test_over_http_a_gateway_is_killed_before_it_answers(redis: RedisServer, tmp_path: Path) -> None:
    said = {"prompt": "a", "size": "64x64", "steps": 1}

    async def post(http: httpx.AsyncClient) -> httpx.Response:
        return await http.post(GENERATE, json=said, headers={"idempotency-key": "k", "prefer": "respond-async"})

    async with served(tmp_path / "b", **redis.sections) as b:
        async with served(tmp_path / "a", **redis.sections) as a:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(KeptReplies, "keep", _killed)
                assert (await post(a)).status_code == 500
        answers = [await post(b) for _ in range(2)]
        async with served(tmp_path / "a", **redis.sections) as a:
            answers.append(await post(a))
            (job,) = (await a.get("/v1/jobs")).json()["data"]
    assert [(one.status_code, one.json()["id"], one.headers[REPLAYED]) for one in answers] == [
        (202, job["id"], "true")
    ] * 3
