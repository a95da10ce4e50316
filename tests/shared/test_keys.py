"""A key that was made, changed or revoked at one gateway is so at all, and known keys need no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_gateway.accounts.key_store import LOOK_SECONDS, KeyStore
from sdxl_gateway.accounts.keys import Key, KeyGrant, merged
from sdxl_gateway.core.allowance import Allowance
from sdxl_gateway.core.caller import Role
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.safety import Policy
from sdxl_gateway.storage.database import opened
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import PEPPER, Sharer, eventually

GRANT = KeyGrant(
    "art",
    "é poster",
    frozenset({Role.GENERATE, Role.METRICS}),
    ("demo",),
    ("water*",),
    Priority.LOW,
    4e9,
    Allowance(max_n=3),
    Policy.BLUR,
    "https://receiver.example/told",
)


@pytest.fixture
async def stores(two: tuple[Sharer, Sharer], tmp_path: Path) -> AsyncIterator[tuple[KeyStore, KeyStore]]:
    """Those of two gateways."""
    async with AsyncExitStack() as stack:
        made = []
        for number, one in enumerate(two):
            database = stack.enter_context(opened(tmp_path / f"data{number}"))
            made.append(KeyStore(database, lambda: PEPPER, exchange=one.shared.keys))
        yield made[0], made[1]


def _all(store: KeyStore) -> list[Key]:
    return store.list()


async def test_what_is_made_at_one_is_known_at_the_other(stores: tuple[KeyStore, KeyStore]) -> None:
    a, b = stores
    text, key = await a.create(GRANT)
    await b.load()
    assert b.holder(text.encode()) == key
    other, theirs = await b.create(KeyGrant("ops", roles=frozenset({Role.ADMIN})))
    await a.load()
    assert a.holder(other.encode()) == theirs
    assert _all(a) == _all(b)


async def test_whatever_becomes_of_it_becomes_of_it_everywhere(stores: tuple[KeyStore, KeyStore]) -> None:
    a, b = stores
    text, key = await a.create(GRANT)
    await b.load()
    await b.update(key.id, lambda grant: replace(grant, limits=Allowance(max_steps=9)))
    new, _ = await b.rotate(key.id)
    await a.load()
    assert a.find(key.id).grant.limits == Allowance(max_steps=9)
    assert a.holder(new.encode()) is not None
    await a.revoke(key.id)
    await b.load()
    assert b.holder(text.encode()) is None
    assert _all(a) == _all(b)


async def test_two_looks_are_less_than_five_seconds() -> None:
    assert 2 * LOOK_SECONDS < 5


async def test_nothing_is_read_again_while_nothing_changes(
    stores: tuple[KeyStore, KeyStore], redis: RedisServer
) -> None:
    for store in stores:
        await store.create(GRANT)
    for _ in range(2):
        for store in stores:
            await store.load()
    redis.cli("CONFIG", "RESETSTAT")
    for _ in range(5):
        for store in stores:
            await store.load()
    told = redis.cli("INFO", "commandstats")
    assert "cmdstat_get:calls=10" in told
    assert "hgetall" not in told


async def test_known_keys_need_no_redis_and_what_was_done_meanwhile_is_told_later(
    stores: tuple[KeyStore, KeyStore], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = stores
    text, key = await a.create(GRANT)
    await b.load()
    redis.stop()
    await a.revoke(key.id)
    late, _ = await a.create(GRANT)
    await b.load()
    assert a.holder(text.encode()) is None
    assert b.holder(text.encode()) is not None
    redis.start()
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.0)
    for store in (b, a, b):
        await store.load()
    assert b.holder(text.encode()) is None
    assert b.holder(late.encode()) is not None
    assert _all(a) == _all(b)


async def test_who_writes_at_the_same_time_is_not_forgotten(stores: tuple[KeyStore, KeyStore]) -> None:
    a, b = stores
    await asyncio.gather(*(store.create(KeyGrant(f"tenant-{n}")) for n in range(4) for store in stores))
    for store in (a, b, a, b):
        await store.load()
    assert len(_all(a)) == 8
    assert _all(a) == _all(b)


async def test_what_was_not_signed_with_the_pepper_is_no_key(
    stores: tuple[KeyStore, KeyStore], redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = stores
    _, key = await a.create(GRANT)
    value = redis.cli("HGET", "sdxl-gateway:keys:all", key.id)
    redis.cli("HSET", "sdxl-gateway:keys:all", key.id, value.replace("generate", "admin"))
    redis.cli("HSET", "sdxl-gateway:keys:all", "key_x", "0" * 64 + "[]")
    await b.load()
    assert _all(b) == []
    assert "2 keys are of another auth.pepper" in caplog.text


def test_of_two_words_the_later_counts_and_an_end_stays() -> None:
    old = Key("key_1", b"d", "sk", GRANT, 1.0, changed=1.0)
    revoked, later = replace(old, revoked=2.0, changed=2.0), replace(old, grant=KeyGrant("ops"), changed=3.0)
    for one, other in ((revoked, later), (later, revoked)):
        assert merged(one, other) == replace(later, revoked=2.0)
    assert merged(old, revoked) == merged(revoked, old) == revoked


async def test_where_gateways_share_nobody_comes_in_before_the_first_key(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.accounts.key_store.LOOK_SECONDS", 0.05)
    sections = {**redis.sections, "auth": redis.sections["auth"].model_copy(update={"allow_anonymous": False})}
    with opened(tmp_path / "elsewhere") as database:
        text, _ = await KeyStore(database, lambda: PEPPER).create(GRANT)
    wrong = text[:-8] + "00000000"
    async with served(tmp_path, **sections) as client:
        assert (await client.get("/v1/models")).status_code == 401
        found = [await client.get("/v1/models", headers={"api-key": key}) for key in (text, wrong)]
        assert [answer.status_code for answer in found] == [401, 401]
        redis.stop()

        async def refused() -> bool:
            found = [await client.get("/v1/models", headers={"api-key": key}) for key in (text, wrong)]
            return [answer.status_code for answer in found] == [503, 401]

        assert await eventually(refused)
