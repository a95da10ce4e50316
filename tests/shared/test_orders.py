"""What is asked of one gateway is done once at every one, at those that are away once they are back."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from sdxl_gateway.core.background import Background
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.core.order import ERASE_TENANT, ROLLOUT, Order
from sdxl_gateway.gateway.fleet import orders as fleet_orders
from sdxl_gateway.gateway.fleet import questions as fleet_questions
from sdxl_gateway.gateway.fleet.orders import KEPT_SECONDS, Orders, Outcome
from sdxl_gateway.shared.job_mirror import Report
from sdxl_gateway.shared.jobs import SharedJobs
from sdxl_gateway.shared.orders import KEPT_MS
from sdxl_gateway.storage.database import opened as database_in
from sdxl_gateway.storage.rollouts import RolloutStore
from tests.kit.api import GENERATE
from tests.kit.clock import Clock
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import Sharer, eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
ADMIN = {"api-key": "root"}


@dataclass
class One:
    """A gateway; `done` are the subjects of what it did, and while it is `stuck` it does nothing."""

    orders: Orders
    done: list[str] = field(default_factory=list)
    stuck: bool = False

    def __post_init__(self) -> None:
        for kind in ("count", ERASE_TENANT):
            self.orders.follow(kind, self.count)

    async def count(self, order: Order) -> Mapping[str, Any]:
        if self.stuck:
            raise Unavailable("stuck")
        if order.subject == "broken":
            raise ValueError("broken")
        self.done.append(order.subject)
        return {"nth": len(self.done)}

    async def give(self, subject: str) -> Outcome:
        return await self.orders.give("count", subject, {})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_orders, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(fleet_orders, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(fleet_questions, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@asynccontextmanager
async def one_in(redis: RedisServer, folder: Path, clock: Clock) -> AsyncIterator[One]:
    """As it was left there; nobody but its own turns does anything."""
    async with Sharer.opened(redis, folder) as sharer:
        mirror = sharer.shared.orders
        assert mirror is not None
        mirror._clock = clock  # type: ignore[attr-defined]
        with database_in(folder) as database:
            one = One(Orders(database, mirror, clock))
            await one.orders.turn()
            yield one


@pytest.fixture
async def two(redis: RedisServer, tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[One, One]]:
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(one_in(redis, tmp_path / name, clock)) for name in "ab"]
        yield a, b


def told(outcome: Outcome) -> list[Any]:
    """What came of it, those that have still to do it last."""
    return sorted(outcome.at.values(), key=lambda what: (what is None, str(what)))


async def test_it_is_done_once_at_all_and_what_came_of_it_is_told(two: tuple[One, One]) -> None:
    a, b = two
    b.done.append("before")
    async with Background(unheard).doing("orders", b.orders.running):
        assert told(await a.give("x")) == [{"nth": 1}, {"nth": 2}]
        assert told(await a.give("y")) == [{"nth": 2}, {"nth": 3}]
    for one in (a, b, a):
        await one.orders.turn()
    assert (a.done, b.done) == (["x", "y"], ["before", "x", "y"])


async def test_one_that_is_away_does_it_when_it_is_back(
    redis: RedisServer, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_in(redis, tmp_path / "a", clock) as a:
        async with one_in(redis, tmp_path / "b", clock):
            pass
        with monkeypatch.context() as short:
            short.setattr(fleet_orders, "WAIT_SECONDS", 0.05)
            assert told(await a.give("while it sleeps")) == [{"nth": 1}, None]
        clock.now += fleet_orders.THERE_SECONDS + 1
        assert told(await a.give("while it is gone")) == [{"nth": 2}, None]
        redis.cli("FLUSHALL")
        await a.orders.turn()
        async with one_in(redis, tmp_path / "b", clock) as b:
            assert b.done == ["while it sleeps", "while it is gone"]
        async with one_in(redis, tmp_path / "b", clock) as b:
            assert b.done == []


async def test_what_cannot_be_done_yet_is_done_later(two: tuple[One, One], redis: RedisServer, clock: Clock) -> None:
    a, b = two
    a.stuck = True
    redis.stop()
    with pytest.raises(Unavailable, match="It is noted"):
        await a.give("x")
    a.stuck = False
    with pytest.raises(Unavailable, match="It is noted"):
        await a.give("broken")
    clock.now += 1.0
    with pytest.raises(Unavailable):
        await a.give("y")
    assert a.done == ["x", "y"]
    redis.start()
    for one in (a, b, a, b):
        await one.orders.turn()
    assert (a.done, b.done) == (["x", "y"], ["x", "y"])


async def test_a_redis_that_forgot_hears_all_of_it_again(two: tuple[One, One], redis: RedisServer) -> None:
    a, b = two
    async with Background(unheard).doing("orders", b.orders.running):
        await a.give("x")
    redis.cli("FLUSHALL")
    for one in (b, a):
        await one.orders.turn()
    assert int(redis.cli("HLEN", "sdxl-gateway:orders")) == 1
    (outcomes,) = redis.cli("KEYS", "sdxl-gateway:order:*").splitlines()
    assert int(redis.cli("HLEN", outcomes)) == 1
    names = redis.cli("KEYS", "*").splitlines()
    assert all(int(redis.cli("PTTL", name)) > 0 for name in names)


async def test_nobody_who_only_writes_into_redis_orders_anything(two: tuple[One, One], redis: RedisServer) -> None:
    a, b = two
    async with Background(unheard).doing("orders", b.orders.running):
        await a.give("x")
    (order_id,) = redis.cli("HKEYS", "sdxl-gateway:orders").splitlines()
    redis.cli(
        "EVAL",
        "redis.call('HSET', KEYS[1], 'other', redis.call('HGET', KEYS[1], ARGV[1]))",
        "1",
        "sdxl-gateway:orders",
        order_id,
    )
    redis.cli("SET", "sdxl-gateway:orders-word", "another")
    await b.orders.turn()
    assert b.done == ["x"]


async def test_who_joins_later_or_was_away_too_long_does_nothing_old(
    two: tuple[One, One], redis: RedisServer, tmp_path: Path, clock: Clock
) -> None:
    a, b = two
    clock.now += 1.0
    async with Background(unheard).doing("orders", b.orders.running):
        await a.give("x")
    clock.now += 1.0
    async with one_in(redis, tmp_path / "c", clock) as c:
        assert c.done == []
        clock.now += KEPT_SECONDS
        for one in (a, c):
            one.orders._word = None
            await one.orders.turn()
        assert c.done == []
        assert redis.cli("EXISTS", "sdxl-gateway:orders") == "0"


async def test_who_has_still_to_erase_a_tenant_is_known_until_it_did(
    two: tuple[One, One], redis: RedisServer, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_orders, "WAIT_SECONDS", 0.0)
    a, b = two

    async def owing() -> list[set[str]]:
        return [{*await asked.orders.owing(one.orders.gateway)} for asked in two for one in two]

    clock.now += 1.0
    b.stuck = True
    await a.give("no tenant")
    await a.orders.give(ERASE_TENANT, "art", {})
    await b.orders.turn()
    assert await owing() == [set(), {"art"}, set(), {"art"}]
    clock.now += 1.0
    async with one_in(redis, tmp_path / "c", clock) as later:
        assert await a.orders.owing(later.orders.gateway) == set()
    b.stuck = False
    await b.orders.turn()
    assert await owing() == [set()] * 4
    b.stuck = True
    await a.orders.give(ERASE_TENANT, "art", {})
    redis.stop()
    with pytest.raises(Unavailable):
        await a.orders.owing(b.orders.gateway)
    clock.now += KEPT_MS / 1000
    assert await owing() == [set()] * 4


async def painted(http: httpx.AsyncClient) -> str:
    """A kept picture of the tenant of the key `alpha`."""
    said = {"prompt": "a", "size": "64x64", "steps": 1, "seed": 7, "response_format": "url"}
    answer = await http.post(GENERATE, json=said, headers={"api-key": "alpha"})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["data"][0]["id"]
    return found


async def kinds(http: httpx.AsyncClient, tenant: str) -> set[str]:
    """Of what is remembered of it there."""
    lines = (await http.get(f"/v1/admin/tenants/{tenant}/data", headers=ADMIN)).text.splitlines()
    return {json.loads(line)["kind"] for line in lines}


async def test_over_http_a_tenant_is_erased_at_every_gateway(redis: RedisServer, tmp_path: Path) -> None:
    keys = {"api_keys": (SecretStr("alpha"),), "admin_keys": (SecretStr("root"),)}
    sections = redis.sections | {"auth": redis.sections["auth"].model_copy(update=keys)}
    async with served(tmp_path / "a", **sections) as a, served(tmp_path / "b", **sections) as b:
        pictures = await asyncio.gather(painted(a), painted(b))
        tenant = (await a.get("/v1/key", headers={"api-key": "alpha"})).json()["tenant"]
        lines = (await b.get(f"/v1/admin/tenants/{tenant}/data", headers=ADMIN)).text.splitlines()
        things = [json.loads(line) for line in lines]
        assert {one["data"]["id"] for one in things if one["kind"] == "images"} == set(pictures)
        assert "missing" not in {one["kind"] for one in things}
        answer = await b.delete(f"/v1/admin/tenants/{tenant}/data", headers=ADMIN)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["erased"]["images"] == 2
        assert list(told["erased"])[:2] == ["batches", "jobs"]
        assert [one["erased"]["images"] for one in told["gateways"]] == [1, 1]
        for http in (a, b):
            assert "images" not in await kinds(http, tenant)
            assert "results" not in await kinds(http, tenant)
        assert (
            await b.post(
                GENERATE, json={"prompt": "a", "size": "64x64", "steps": 1, "seed": 7}, headers={"api-key": "alpha"}
            )
        ).headers["x-sdxl-gateway-cache"] == "miss"


async def test_over_http_who_was_away_erases_before_it_tells_of_anything(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_orders, "WAIT_SECONDS", 0.0)
    async with served(tmp_path / "a", **redis.sections) as a:
        said = {"prompt": "a", "size": "64x64", "steps": 1}
        job = (await a.post(GENERATE, json=said, headers={"prefer": "respond-async"})).json()

        async def over() -> bool:
            return bool((await a.get(f"/v1/jobs/{job['id']}")).json()["finished_at"])

        assert await eventually(over)
    async with one_in(redis, tmp_path / "b", Clock(time.time() + 1.0)) as b:
        assert None in told(await b.orders.give(ERASE_TENANT, job["tenant"], {}))
    seen = list[Report]()
    monkeypatch.setattr(SharedJobs, "tell", _noting(SharedJobs.tell, seen))
    async with served(tmp_path / "a", **redis.sections) as a:
        assert (await a.get("/v1/jobs")).json()["data"] == []
    assert seen == []


def _noting(tell: Any, seen: list[Report]) -> Any:
    async def noting(mirror: SharedJobs, reports: Sequence[Report]) -> Any:
        seen.extend(reports)
        return await tell(mirror, reports)

    return noting


async def test_over_http_a_new_webhook_secret_signs_at_every_gateway(redis: RedisServer, tmp_path: Path) -> None:
    auth = redis.sections["auth"].model_copy(update={"admin_keys": (SecretStr("root"),)})
    path, sections = "/v1/admin/tenants/art/webhook_secret", redis.sections | {"auth": auth}

    async def secrets_at(http: httpx.AsyncClient) -> Any:
        return (await http.get(path, headers=ADMIN)).json()

    async with served(tmp_path / "a", **sections) as a, served(tmp_path / "b", **sections) as b:
        rotated = await a.post(f"{path}/rotate", headers=ADMIN)
        assert rotated.status_code == 201

        async def alike() -> bool:
            return bool(await secrets_at(b) == await secrets_at(a) == rotated.json())

        assert await eventually(alike)
        async with served(tmp_path / "c", **sections) as later:
            assert await secrets_at(later) == rotated.json()


async def test_over_http_what_was_used_is_of_every_gateway(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"api_keys": (SecretStr("alpha"),), "admin_keys": (SecretStr("root"),)}
    sections = redis.sections | {"auth": redis.sections["auth"].model_copy(update=keys)}

    async def used(http: httpx.AsyncClient) -> tuple[list[int], list[Any]]:
        told = (await http.get("/v1/admin/usage", headers=ADMIN)).json()
        return [row["images"] for row in told["data"]], told["missing"]

    async with served(tmp_path / "a", **sections) as a:
        async with served(tmp_path / "b", **sections) as b:
            await asyncio.gather(painted(a), painted(b), painted(b))
            assert await used(a) == await used(b) == ([3], [])
        monkeypatch.setattr(fleet_questions, "WAIT_SECONDS", 0.05)
        images, (missing,) = await used(a)
        assert (images, missing["host"]) == ([1], socket.gethostname())
        redis.stop()
        assert await used(a) == ([1], [{"gateway": None, "host": None, "seen": None}])


async def test_shares_of_a_rollout_are_set_at_every_gateway(two: tuple[One, One], tmp_path: Path) -> None:
    a, b = two
    stores = [RolloutStore(one.orders._database) for one in (a, b)]
    for one, store in zip((a, b), stores, strict=True):
        one.orders.follow(ROLLOUT, store.take)
    here, there = stores
    await here.promote("posters", {"one": 30.0, "two": 70.0}, "a terminal")
    await there.promote("posters", {"one": 100.0}, "another")
    await here.back("posters", "a terminal")
    for one in (a, a, b, b, a):
        await one.orders.turn()
    assert len(await here.history("posters")) == 3
    assert await here.history("posters") == await there.history("posters")
    assert here.last("posters") == there.last("posters") == (await here.history("posters"))[-1]
