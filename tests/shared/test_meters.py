"""What may be taken is taken once among all gateways, and each goes by its own count while Redis is down."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from sdxl_gateway.core.allowance import Meter, Unit
from sdxl_gateway.core.events import WorkFailed
from sdxl_gateway.core.ports import Meters
from tests.kit.redis_server import RedisServer
from tests.kit.sharing import Sharer, eventually

REQUESTS = Meter("tenant art", Unit.REQUESTS, 10)
STEPS = Meter("tenant art", Unit.PIXEL_STEPS, 1000)
JOBS = Meter("tenant art", Unit.JOBS, 3)
ALL = pytest.mark.parametrize("meter", [REQUESTS, STEPS, JOBS], ids=lambda meter: meter.unit)
Two = tuple[Sharer, Sharer]


def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on Redis is asked again at once."""
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)


async def _well(one: Sharer) -> bool:
    return one.shared.ailing() == ()


async def _answered(one: Sharer) -> bool:
    """It asks, and Redis says something."""
    await one.meters.level(REQUESTS)
    return await _well(one)


async def _taken(meters: Meters, meter: Meter, times: int, amount: int = 1) -> int:
    """How many of so many tries were let in."""
    return sum([await meters.take(meter, amount) for _ in range(times)])


@ALL
async def test_two_gateways_take_from_one(two: Two, meter: Meter) -> None:
    each = meter.most // 5 or 1
    found = [await _taken(one.meters, meter, 4, each) for one in two]
    assert sum(found) == meter.most // each
    for one in two:
        assert (await one.meters.level(meter)).remaining == 0
        assert await one.meters.wait_seconds(meter, 1) > 0


@ALL
async def test_of_many_who_take_at_once_as_many_as_fit_are_let_in(two: Two, meter: Meter) -> None:
    each = meter.most // 5 or 1
    asked = [one.meters.take(meter, each) for one in two for _ in range(20)]
    assert sum(await asyncio.gather(*asked)) == meter.most // each


async def test_what_is_given_back_is_free_at_the_other(two: Two) -> None:
    a, b = two
    for meter, amount in ((JOBS, 1), (STEPS, 400)):
        while await a.meters.take(meter, amount):
            pass
        await a.meters.give_back(meter, amount)
        assert await eventually(partial(b.meters.take, meter, amount))
        assert not await a.meters.take(meter, amount)


async def test_the_places_of_a_gateway_that_died_come_back(two: Two, redis: RedisServer) -> None:
    a, b = two
    assert await _taken(a.meters, JOBS, 3) == 3
    assert not await b.meters.take(JOBS, 1)
    places = "sdxl-gateway:places:tenant art"
    (gateway_id, *_) = redis.cli("HKEYS", places).splitlines()
    assert redis.cli("HGET", places, gateway_id).startswith("3 ")
    redis.cli("HSET", places, gateway_id, "3 1000")
    assert await b.meters.take(JOBS, 1)


async def test_without_redis_each_goes_by_its_own_count(two: Two, redis: RedisServer) -> None:
    a, b = two
    assert await _taken(a.meters, REQUESTS, 4) == 4
    redis.stop()
    assert await _taken(a.meters, REQUESTS, 10) == 6
    assert await _taken(b.meters, REQUESTS, 12) == 10
    assert a.shared.ailing() == ("redis",)
    assert a.told == [WorkFailed("redis")]


async def test_after_a_restart_all_count_together_again(
    two: Two, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    assert await _taken(a.meters, JOBS, 1) == 1
    redis.stop()
    assert await _taken(a.meters, JOBS, 1) == 1
    redis.start()
    _impatient(monkeypatch)
    await a.meters.give_back(JOBS, 1)
    assert await eventually(partial(_well, a))
    assert await _taken(b.meters, JOBS, 3) == 2


async def test_a_redis_that_lost_everything_gives_nobody_more(two: Two, redis: RedisServer) -> None:
    a, _ = two
    assert await a.meters.take(STEPS, 900)
    redis.stop()
    redis.start()
    assert (await a.meters.level(STEPS)).remaining == 100
    assert not await a.meters.take(STEPS, 101)


async def test_a_slow_redis_is_waited_for_once(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.timeout_seconds = 0.5
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 3600.0)
    async with Sharer.opened(redis, tmp_path) as one:
        redis.freeze()
        assert await _taken(one.meters, REQUESTS, 50) == 10
        assert (one.shared.ailing(), one.told) == (("redis",), [WorkFailed("redis")])
        redis.thaw()
        _impatient(monkeypatch)
        assert await eventually(partial(_answered, one))


@ALL
async def test_a_full_redis_is_as_none(
    two: Two, redis: RedisServer, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    redis.fill()
    each = meter.most // 5 or 1
    for one in (a, b):
        assert await _taken(one.meters, meter, 12, each) == meter.most // each
    assert a.shared.ailing() == ("redis",)
    redis.empty_out()
    _impatient(monkeypatch)
    assert not await a.meters.take(meter, each)


async def test_who_is_cut_off_leaves_no_answer_for_another(two: Two, redis: RedisServer) -> None:
    a, _ = two
    other = Meter("tenant other", Unit.PIXEL_STEPS, 10**6)
    await a.meters.take(STEPS, 300)
    for turn in range(40):
        asking = asyncio.create_task(a.meters.level(STEPS))
        for _ in range(turn % 8):
            await asyncio.sleep(0)
        asking.cancel()
        assert (await a.meters.level(other)).remaining == 10**6
    assert (await a.meters.level(STEPS)).remaining == 700


async def test_every_key_begins_with_the_prefix_and_has_an_end(two: Two, redis: RedisServer) -> None:
    for meter in (REQUESTS, STEPS, JOBS):
        await two[0].meters.take(meter, 1)
    names = redis.cli("KEYS", "*").splitlines()
    assert len(names) == 3
    for name in names:
        assert "sdxl-gateway:" in name
        assert int(redis.cli("PTTL", name)) > 0


async def test_a_count_that_was_told_later_is_not_undone_by_an_older_one(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question takes longest on its way, as one may that has a connection of its own."""
    a, b = two
    on_their_way = iter([0.2])
    places = a.meters._places.sum  # type: ignore[attr-defined]

    async def slowly(*told: object) -> object:
        await asyncio.sleep(next(on_their_way, 0.0))
        return await places(*told)

    monkeypatch.setattr(a.meters._places, "sum", slowly)  # type: ignore[attr-defined]
    first = asyncio.create_task(a.meters.take(JOBS, 1))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(a.meters.take(JOBS, 1))
    assert await first
    assert await second
    assert await _taken(b.meters, JOBS, 3) == 1
