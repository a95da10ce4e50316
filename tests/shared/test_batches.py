"""A batch is answered for and cancelled at any gateway, whichever accepted it."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.kit.api import GENERATE
from tests.kit.redis_server import RedisServer
from tests.kit.serving import served
from tests.kit.sharing import eventually

pytestmark = pytest.mark.usefixtures("logs_as_they_were")


async def created(http: httpx.AsyncClient, steps: int) -> str:
    """The id of a batch of one line."""
    body = {"prompt": "step-seconds=0.5", "steps": steps, "size": "64x64"}
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
        return bool(told["status"] == status)

    assert await eventually(holds), told
    return told


async def test_a_batch_is_told_of_and_cancelled_at_the_other_gateway(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.gateway.batches.SHARE_SECONDS", 0.02)
    keys = {"auth": redis.sections["auth"].model_copy(update={"api_keys": (SecretStr("alpha"), SecretStr("beta"))})}
    async with AsyncExitStack() as stack:
        opening = [served(tmp_path / name, **(redis.sections | keys)) for name in "ab"]
        a, b = [await stack.enter_async_context(one) for one in opening]
        for http in (a, b):
            http.headers["api-key"] = "alpha"
        short, long = await created(a, 1), await created(a, 100)
        assert (await b.get(f"/v1/batches/{long}")).status_code == 200
        there = await stands(b, short, "completed")
        assert there == (await a.get(f"/v1/batches/{short}")).json()
        for path, verb in (("", "GET"), ("/cancel", "POST")):
            refused = await b.request(verb, f"/v1/batches/{long}{path}", headers={"api-key": "beta"})
            assert refused.status_code == 404
        assert (await b.post(f"/v1/batches/{long}/cancel")).json()["status"] == "cancelling"
        for http in (a, b):
            await stands(http, long, "cancelled")
        again = await b.post(f"/v1/batches/{long}/cancel")
        assert again.json()["status"] == "cancelled"
        assert all(int(redis.cli("PTTL", name)) > 0 for name in redis.cli("KEYS", "*batch*").splitlines())
