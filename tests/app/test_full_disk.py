"""A disk that takes nothing more: a painted picture leaves as data with a warning, or is refused where it cannot."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
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
from tests.kit.gateway import decoded, opened

# Building the application sets up the logs of the whole process, which other tests share.
pytestmark = pytest.mark.usefixtures("logs_as_they_were")
SAID = {"prompt": "a red circle", "size": "64x64", "steps": 2}


def local(engine: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    return LocalBackend(opened, queue_size=limits.queue_size, listener=listener)


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A server's client; where its pictures' folder was, there is a file, as nothing else stops root from writing."""
    app = build_app(Settings(data_directory=tmp_path, loras=Loras(directory=tmp_path, watch=False)), local)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gw") as client,
        asyncio.timeout(30),
    ):
        shutil.rmtree(tmp_path / "images")
        (tmp_path / "images").write_bytes(b"")
        yield client


async def test_without_a_word_on_how_it_is_sent_it_comes_as_data(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={**SAID, "n": 2})
    assert answer.status_code == 200
    assert answer.headers["x-sdxl-gateway-warning"].count("could not be stored") == 1
    for entry in answer.json()["data"]:
        assert "url" not in entry
        assert decoded(base64.b64decode(entry["b64_json"])).size == (64, 64)


async def test_an_address_asked_for_and_not_to_be_had_is_507(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={**SAID, "response_format": "url"})
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, answer.headers["x-should-retry"]) == (507, "false")
    assert (error["code"], error["param"], error["type"]) == ("storage_full", "response_format", "server_error")


async def test_a_stream_carries_the_picture_and_the_warning(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={**SAID, "response_format": "url", "stream": True})
    last = json.loads(answer.text.split("data: ")[-1])
    assert last["type"] == "image_generation.completed"
    assert "url" not in last
    assert decoded(base64.b64decode(last["b64_json"])).size == (64, 64)
    assert "could not be stored" in last["warnings"][0]


async def test_data_alone_needs_no_disk(http: httpx.AsyncClient) -> None:
    answer = await http.post(GENERATE, json={**SAID, "response_format": "b64_json"})
    assert answer.status_code == 200
    assert "x-sdxl-gateway-warning" not in answer.headers
