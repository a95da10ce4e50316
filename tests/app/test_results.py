"""What was painted before, over HTTP: a header says so, whether the reply is whole or a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.app import build_app
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.config import EngineProcess, Limits, Loras, Settings
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Backend
from tests.kit.api import GENERATE
from tests.kit.gateway import opened

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
SAID: dict[str, Any] = {"prompt": "a red circle", "size": "64x64", "steps": 2, "seed": 7}
CACHE = "x-sdxl-gateway-cache"


def local(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    return LocalBackend(opened, queue_size=limits.queue_size, listener=listener)


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(Settings(data_directory=tmp_path, loras=Loras(directory=tmp_path, watch=False)), local)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gw") as client,
    ):
        yield client


async def test_a_header_says_whether_it_was_painted_before(http: httpx.AsyncClient) -> None:
    first, second = [await http.post(GENERATE, json=SAID) for _ in range(2)]
    assert [answer.headers[CACHE] for answer in (first, second)] == ["miss", "hit"]
    before, after = (answer.json()["data"][0] for answer in (first, second))
    assert {key: before[key] for key in ("b64_json", "seed", "recipe")} == {
        key: after[key] for key in ("b64_json", "seed", "recipe")
    }
    assert first.json()["usage"] == second.json()["usage"]
    assert before["id"] != after["id"]
    assert (await http.get(after["url"])).content == (await http.get(before["url"])).content
    assert CACHE not in (await http.post(GENERATE, json={**SAID, "seed": None})).headers


async def test_a_stream_of_it_is_its_end(http: httpx.AsyncClient) -> None:
    painted = (await http.post(GENERATE, json=SAID)).json()["data"][0]["b64_json"]
    answer = await http.post(GENERATE, json={**SAID, "stream": True, "partial_images": 2})
    (event,) = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert answer.headers[CACHE] == "hit"
    assert (event["type"], event["b64_json"]) == ("image_generation.completed", painted)


async def test_a_deleted_picture_takes_no_other_with_it(http: httpx.AsyncClient) -> None:
    first, second = [(await http.post(GENERATE, json=SAID)).json()["data"][0] for _ in range(2)]
    assert (await http.delete(f"/v1/images/{first['id']}")).status_code == 200
    assert [(await http.get(one["url"])).status_code for one in (first, second)] == [410, 200]
