"""A cache of results holds so many bytes, for so long, each tenant's for itself."""

from __future__ import annotations

import pytest

from sdxl_gateway.delivery.deliver import Encoded
from sdxl_gateway.delivery.results import Results
from sdxl_gateway.gateway.result_cache import ResultCache
from tests.kit.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def cache(clock: Clock) -> ResultCache:
    return ResultCache(max_bytes=100, seconds=60.0, clock=clock)


def fill(cache: ResultCache, key: str, size: int = 40, tenant: str = "art") -> None:
    cache.put(key, Results(tenant, (Encoded(0, 7, bytes(size)),), ("so it is",), cache.clock()))


async def held(cache: ResultCache) -> set[str]:
    return {key for key in "abcd" if await cache.find(key, "art") is not None}


async def test_what_was_put_is_found_until_its_time_is_over(cache: ResultCache, clock: Clock) -> None:
    fill(cache, "a")
    found = await cache.find("a", "art")
    assert found is not None
    assert (found.pictures, found.warnings) == ((Encoded(0, 7, bytes(40)),), ("so it is",))
    assert await cache.find("b", "art") is None
    clock.now += 60
    assert (await cache.find("a", "art"), cache.held_bytes) == (None, 0)


async def test_what_was_used_least_lately_goes_first(cache: ResultCache) -> None:
    fill(cache, "a")
    fill(cache, "b")
    assert await cache.find("a", "art") is not None
    fill(cache, "c")
    assert (await held(cache), cache.held_bytes) == ({"a", "c"}, 80)
    fill(cache, "d", size=100)
    assert (await held(cache), cache.held_bytes) == ({"d"}, 100)
    fill(cache, "a", size=101)
    assert await held(cache) == {"d"}


async def test_what_is_put_again_counts_once(cache: ResultCache) -> None:
    fill(cache, "a")
    fill(cache, "a", size=50)
    assert cache.held_bytes == 50


async def test_other_limits_hold_from_the_next_on(cache: ResultCache, clock: Clock) -> None:
    fill(cache, "a")
    cache.limit(max_bytes=50, seconds=10.0)
    fill(cache, "b")
    assert await held(cache) == {"b"}
    clock.now += 10
    assert await held(cache) == set()


async def test_a_tenants_are_told_and_erased(cache: ResultCache, clock: Clock) -> None:
    fill(cache, "a")
    clock.now += 1
    fill(cache, "b", tenant="ops")
    assert await cache.export("art") == [{"at": 1000.0, "images": 1, "bytes": 40}]
    assert await cache.forget_before(1000.0) == 0
    assert (await cache.erase("art"), await cache.erase("art"), await held(cache)) == (1, 0, {"b"})
    assert (await cache.forget_before(1002.0), cache.held_bytes) == (1, 0)
