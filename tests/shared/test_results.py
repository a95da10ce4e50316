"""What one gateway painted another gives again for the same request, and paints it itself where that cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.core.errors import Gone, Unavailable
from sdxl_gateway.delivery.deliver import Encoded
from sdxl_gateway.delivery.results import Results
from sdxl_gateway.gateway.fleet.results import FleetResults
from sdxl_gateway.shared.results import SharedResults
from sdxl_gateway.storage.objects import Objects
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.sealed import AesSeal
from tests.kit.api import GENERATE
from tests.kit.clock import Clock
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import Sharer, eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
PICTURES = Encoded(0, 7, b"first" * 20), Encoded(1, 8, b"second")
CACHE = "x-sdxl-gateway-cache"
SECONDS = 60.0


class MemoryObjects:
    """Objects of no bucket; while it is `down` it says so."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.down = False

    def put(self, name: str, data: bytes) -> None:
        self.held[name] = data

    def read(self, name: str) -> bytes:
        if self.down:
            raise Unavailable("down")
        if name not in self.held:
            raise Gone("gone")
        return self.held[name]

    def delete_below(self, folder: str) -> None:
        self.held = {name: data for name, data in self.held.items() if not name.startswith(folder + "/")}

    def forget_before(self, unix_seconds: float) -> None:
        self.held.clear()


Two = tuple[FleetResults, FleetResults]


@asynccontextmanager
async def caches(
    redis: RedisServer, folder: Path, objects: Objects | None = None, seal: Seal | None = None, **changed: float
) -> AsyncIterator[Two]:
    """Those of two gateways; `changed` is of [redis]."""
    section = redis.sections["redis"].model_copy(update=changed)
    async with AsyncExitStack() as stack:
        opening = [Sharer.opened(redis, folder / name, seal, redis=section) for name in "ab"]
        made = [(await stack.enter_async_context(one)).shared.results for one in opening]
        a, b = (FleetResults(one(objects), max_bytes=1000, seconds=SECONDS) for one in made if one is not None)
        yield a, b


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Two]:
    async with caches(redis, tmp_path) as opened:
        yield opened


async def put(cache: FleetResults, key: str, tenant: str = "art", pictures: tuple[Encoded, ...] = PICTURES) -> Results:
    """The others know of it then."""
    results, mirror = Results(tenant, pictures, ("so it is",), cache.clock()), cache._mirror
    cache.put(key, results)
    assert isinstance(mirror, SharedResults)
    await asyncio.gather(*mirror._telling)
    return results


def names(redis: RedisServer, what: str = "result:*") -> list[str]:
    return redis.cli("KEYS", f"sdxl-gateway:{what}").splitlines()


async def told(redis: RedisServer) -> bool:
    """One lies there."""

    async def there() -> bool:
        return len(names(redis)) == 1

    return await eventually(there)


async def test_what_one_painted_the_other_gives_again(two: Two, redis: RedisServer) -> None:
    a, b = two
    results = await put(a, "k")
    assert await b.find("k", "you") is await b.find("l", "art") is None
    assert await b.find("k", "art") == results
    redis.cli("FLUSHALL")
    assert await b.find("k", "art") == results
    assert b.held_bytes == results.size_bytes


async def test_it_is_as_old_as_it_is_at_its_gateway(two: Two, redis: RedisServer) -> None:
    a, b = two
    a.clock = b.clock = clock = Clock(1000.0)
    await put(a, "k")
    clock.now += SECONDS
    assert await b.find("k", "art") is None
    b.limit(max_bytes=1000, seconds=SECONDS + 1)
    assert await b.forget_before(1000.5) == 0
    assert await b.find("k", "art") is None


async def test_every_key_has_an_end(two: Two, redis: RedisServer) -> None:
    await put(two[0], "k")
    assert {name.partition(":")[2].partition(":")[0] for name in names(redis, "*")} == {
        "result",
        "results",
        "results-bytes",
    }
    assert all(0 < int(redis.cli("PTTL", name)) <= SECONDS * 1000 for name in names(redis, "*"))


async def test_what_no_gateway_put_there_or_put_elsewhere_is_painted_anew(
    two: Two, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = two
    await put(a, "k")
    (name,) = names(redis)
    redis.cli("COPY", name, name[:-1] + "l")
    assert await b.find("l", "art") is None
    redis.cli("HSET", name, "bytes", "x" * 32 + "[1.0, [], []]")
    assert await b.find("k", "art") is None
    assert "another auth.pepper" in caplog.text


async def test_the_oldest_make_room_and_what_is_too_large_takes_none(redis: RedisServer, tmp_path: Path) -> None:
    async with caches(redis, tmp_path, max_results_bytes=1000, max_reply_bytes=300) as (a, b):
        for number in range(6):
            await put(a, str(number))
        assert await b.find("0", "art") is None
        assert await b.find("5", "art") is not None
        assert int(redis.cli("GET", "sdxl-gateway:results-bytes")) <= 1000
        await put(a, "large", pictures=(Encoded(0, 1, bytes(301)),))
        assert await b.find("large", "art") is None


async def test_a_tenant_that_is_erased_is_so_in_redis(two: Two, redis: RedisServer) -> None:
    a, b = two
    for key in ("k", "another"):
        await put(a, key)
    await put(a, "theirs", "ops")
    assert await a.erase("art") == 2
    assert (await b.find("another", "art"), len(names(redis))) == (None, 1)
    assert await b.find("theirs", "ops") is not None
    redis.stop()
    with pytest.raises(Unavailable):
        await a.erase("ops")


async def test_nothing_stands_there_in_words_where_things_are_sealed(redis: RedisServer, tmp_path: Path) -> None:
    async with caches(redis, tmp_path, seal=AesSeal([b"a" * 32])) as (a, b):
        results = await put(a, "k")
        assert "so it is" not in redis.cli("--no-raw", "HGET", names(redis)[0], "bytes")
        assert await b.find("k", "art") == results


async def test_where_there_is_a_bucket_they_lie_there(redis: RedisServer, tmp_path: Path) -> None:
    bucket = MemoryObjects()
    async with caches(redis, tmp_path, bucket) as (a, b):
        results = await put(a, "k")
        await put(a, "l")
        assert all(int(redis.cli("HSTRLEN", name, "bytes")) < 100 for name in names(redis))
        bucket.down = True
        assert await b.find("k", "art") is None
        bucket.down = False
        assert await b.find("k", "art") == results
        bucket.held = dict.fromkeys(bucket.held, bucket.held[next(key for key in bucket.held if key.endswith("/k"))])
        assert await b.find("l", "art") is None
        await b.erase("art")
        assert (bucket.held, names(redis)) == ({}, [])
        await put(a, "k")
        await b.forget_before(0.0)
        assert await b.find("k", "art") is None


Trouble = Callable[[RedisServer], Any]


@pytest.mark.parametrize("trouble", [RedisServer.stop, RedisServer.freeze, RedisServer.fill])
async def test_without_redis_each_gives_its_own(redis: RedisServer, tmp_path: Path, trouble: Trouble) -> None:
    async with caches(redis, tmp_path, timeout_seconds=0.1) as (a, b):
        await put(a, "before")
        trouble(redis)
        await put(a, "k")
        assert await a.find("k", "art") is not None
        assert await b.find("k", "art") is None
        redis.thaw() if trouble is RedisServer.freeze else None


async def asked(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    said = {"prompt": "a fox", "size": "64x64", "steps": 2, "seed": 7, "n": 2, "response_format": "b64_json"}
    answer = await http.post(GENERATE, json=said | more)
    assert answer.status_code == 200, answer.text
    return answer


def same(answer: httpx.Response) -> dict[str, Any]:
    """Without when it was made."""
    body: dict[str, Any] = answer.json()
    return {name: value for name, value in body.items() if name != "created"}


async def test_over_http_the_other_answers_as_if_it_had_painted_it(redis: RedisServer, tmp_path: Path) -> None:
    async with served(tmp_path / "a", **redis.sections) as a, served(tmp_path / "b", **redis.sections) as b:
        painted = await asked(a)
        assert await told(redis)
        again = await asked(b)
        assert [one.headers[CACHE] for one in (painted, again)] == ["miss", "hit"]
        assert same(again) == same(painted)
        assert (await asked(b, seed=8)).headers[CACHE] == "miss"
        assert CACHE not in (await asked(b, seed=None)).headers
        kept = await asked(b, response_format="url")
        assert kept.headers[CACHE] == "hit"
        assert (await a.get(f"/v1/images/{kept.json()['data'][0]['id']}")).status_code == 200


async def test_over_http_a_redis_that_is_gone_costs_a_painting(redis: RedisServer, tmp_path: Path) -> None:
    async with served(tmp_path / "a", **redis.sections) as a, served(tmp_path / "b", **redis.sections) as b:
        await asked(a)
        assert await told(redis)
        redis.stop()
        assert [(await asked(one)).headers[CACHE] for one in (a, b, b)] == ["hit", "miss", "hit"]
