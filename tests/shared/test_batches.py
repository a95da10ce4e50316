"""A batch is answered for, listed, archived and cancelled at any gateway, whichever accepted it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from pydantic import SecretStr

from tests.kit.api import GENERATE
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
Two = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture
async def both(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """Two gateways and the key of one tenant; "beta" is another's, and "admin" an admin's."""
    monkeypatch.setattr("sdxl_gateway.gateway.fleet.batches.SHARE_SECONDS", 0.02)
    monkeypatch.setattr("sdxl_gateway.shared.link.PAUSE_SECONDS", 0.02)
    keys = {"api_keys": (SecretStr("alpha"), SecretStr("beta")), "admin_keys": (SecretStr("admin"),)}
    sections = redis.sections | {"auth": redis.sections["auth"].model_copy(update=keys)}
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(served(tmp_path / name, **sections)) for name in "ab"]
        for http in (a, b):
            http.headers["api-key"] = "alpha"
        yield a, b


async def created(http: httpx.AsyncClient, steps: int) -> str:
    """The id of a batch of one line."""
    body = {"prompt": "step-seconds=0.5", "steps": steps, "size": "64x64", "response_format": "b64_json"}
    line = json.dumps({"custom_id": "1", "method": "POST", "url": GENERATE, "body": body})
    file = (await http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", line)})).json()
    asked = {"input_file_id": file["id"], "endpoint": GENERATE, "completion_window": "24h"}
    answer = (await http.post("/v1/batches", json=asked)).json()
    return str(answer["id"])


async def stands(http: httpx.AsyncClient, batch_id: str, status: str) -> dict[str, Any]:
    """The batch once it is so there."""
    told: dict[str, Any] = {}

    async def holds() -> bool:
        nonlocal told
        told = (await http.get(f"/v1/batches/{batch_id}")).json()
        return bool(told.get("status") == status)

    assert await eventually(holds), told
    return told


async def listed(http: httpx.AsyncClient, key: str = "alpha", **query: Any) -> list[str]:
    answer = await http.get("/v1/batches", params=query, headers={"api-key": key})
    return [one["id"] for one in answer.json()["data"]]


async def archive(http: httpx.AsyncClient, batch_id: str) -> dict[str, bytes]:
    """The pictures in it."""
    answer = await http.get(f"/v1/batches/{batch_id}/archive")
    assert answer.status_code == 200, answer.text
    with ZipFile(io.BytesIO(answer.content)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


async def test_a_batch_is_told_of_and_cancelled_at_the_other_gateway(both: Two, redis: RedisServer) -> None:
    a, b = both
    short, long = await created(a, 1), await created(a, 100)
    assert (await b.get(f"/v1/batches/{long}")).status_code == 200
    there = await stands(b, short, "completed")
    assert there == (await a.get(f"/v1/batches/{short}")).json()
    for path, verb in (("", "GET"), ("/cancel", "POST"), ("/archive", "GET")):
        refused = await b.request(verb, f"/v1/batches/{long}{path}", headers={"api-key": "beta"})
        assert refused.status_code == 404
    assert (await b.post(f"/v1/batches/{long}/cancel")).json()["status"] == "cancelling"
    for http in (a, b):
        await stands(http, long, "cancelled")
    again = await b.post(f"/v1/batches/{long}/cancel")
    assert again.json()["status"] == "cancelled"
    assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*batch*").splitlines())


async def test_batches_of_both_are_one_list(both: Two) -> None:
    a, b = both
    ids = [await created(http, 1) for http in (a, b, a, b, a)]
    for http in both:
        assert await listed(http) == await listed(http, "admin") == ids[::-1]
        assert await listed(http, limit=2, after=ids[3]) == [ids[2], ids[1]]
        page = (await http.get("/v1/batches", params={"limit": 5})).json()
        assert (page["has_more"], page["data"][0]) == (False, (await a.get(f"/v1/batches/{ids[4]}")).json())
        assert (await http.get("/v1/batches", params={"limit": 4})).json()["has_more"] is True
        assert (await http.get("/v1/batches", params={"after": "batch_0"})).status_code == 400
        assert await listed(http, "beta") == []


async def test_the_archive_is_the_same_at_both(both: Two) -> None:
    a, b = both
    batch = await created(a, 1)
    await stands(b, batch, "completed")
    found = await archive(a, batch)
    assert [*found] == ["00001-1.png"]
    assert await archive(b, batch) == found


async def test_what_a_redis_forgot_is_told_it_again(both: Two, redis: RedisServer) -> None:
    a, b = both
    batch = await created(a, 1)
    await stands(b, batch, "completed")
    redis.stop()
    assert await listed(a) == [batch]
    assert await listed(b) == []
    redis.start()
    await stands(b, batch, "completed")
    assert await listed(b) == [batch]


async def test_an_erased_one_is_known_nowhere(both: Two) -> None:
    a, b = both
    batch = await created(a, 1)
    told = await stands(b, batch, "completed")
    tenant = (await a.get("/v1/key")).json()["tenant"]
    erased = await a.delete(f"/v1/admin/tenants/{tenant}/data", headers={"api-key": "admin"})
    assert erased.status_code == 200, erased.text
    assert told["id"] not in await listed(b)
    assert (await b.get(f"/v1/batches/{batch}")).status_code == 404
