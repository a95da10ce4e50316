"""Whoever does not share needs no extra; whoever does needs it, and one and the same secrets everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from sdxl_gateway.accounts.key_store import alone
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.config import Auth, Delivery, Redis, Settings
from sdxl_gateway.core.listeners import unheard
from sdxl_gateway.shared.open import SharingProblem, open_shared
from sdxl_gateway.storage.idempotency import Alone
from sdxl_gateway.storage.seal import Seal
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served

URL = SecretStr("redis://localhost:1/0")
PEPPER, KEY = SecretStr("p" * 32), SecretStr("u" * 32)


def test_alone_nothing_is_shared_and_redis_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    local = LocalMeters()
    shared = open_shared(Settings(), tmp_path, local, Seal(), unheard)
    assert (shared.meters, shared.keys, shared.link) == (local, alone, None)
    assert isinstance(shared.replies, Alone)
    assert (dict(shared.works), shared.ailing()) == ({}, ())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sdxl_gateway.shared.link", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    settings = Settings(redis=Redis(url=URL), auth=Auth(pepper=PEPPER), delivery=Delivery(url_key=KEY))
    with pytest.raises(SharingProblem, match=r"sdxl-gateway\[redis\]"):
        open_shared(settings, tmp_path, LocalMeters(), Seal(), unheard)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(redis=Redis(url=URL)), "auth.pepper and delivery.url_key"),
        (Settings(redis=Redis(url=URL), auth=Auth(pepper=PEPPER)), "same delivery.url_key"),
    ],
)
def test_secrets_of_ones_own_are_refused(settings: Settings, told: str, tmp_path: Path) -> None:
    with pytest.raises(SharingProblem, match=told):
        open_shared(settings, tmp_path, LocalMeters(), Seal(), unheard)


def test_an_address_of_something_else_is_refused_and_not_told(tmp_path: Path) -> None:
    url = SecretStr("http://secret@localhost")
    settings = Settings(redis=Redis(url=url), auth=Auth(pepper=PEPPER), delivery=Delivery(url_key=KEY))
    with pytest.raises(SharingProblem, match="redis://") as refused:
        open_shared(settings, tmp_path, LocalMeters(), Seal(), unheard)
    assert "secret@" not in str(refused.value)


async def test_readiness_says_that_redis_is_down_and_pictures_are_painted(redis: RedisServer, tmp_path: Path) -> None:
    limits = {"tenant_defaults": {"requests_per_minute": 3}}
    async with served(tmp_path, **redis.sections, **limits) as client:
        assert "degraded" not in (await client.get("/readyz")).json()
        redis.stop()
        answers = [await client.post("/v1/images/generations", json={"prompt": "a"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["degraded"]) == (200, ["redis"])
