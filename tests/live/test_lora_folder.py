"""The LoRA folder while the server runs: a file that comes is a model name, follows its file, and goes with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.servers import Server, until
from tests.live.conftest import Paint

GENERATE = "/v1/images/generations"


def status(http: httpx.Client, name: str) -> int:
    return http.get(f"/v1/models/{name}").status_code


@pytest.fixture
def dropped(live: Server, http: httpx.Client) -> Iterator[Path]:
    """Where a file can be dropped; it is gone afterwards, and the server knows."""
    path = live.loras / "dropped.safetensors"
    yield path
    path.unlink(missing_ok=True)
    until(lambda: status(http, "dropped") == 404, seconds=30)


def test_a_dropped_file_is_a_model_name_until_it_goes(
    live: Server, http: httpx.Client, paint: Paint, dropped: Path
) -> None:
    assert status(http, "dropped") == 404
    shutil.copy(live.loras / "sunset.safetensors", dropped)
    until(lambda: status(http, "dropped") == 200, seconds=30)

    assert paint(model="demo+dropped") == paint(model="demo+sunset") != paint()

    dropped.unlink()
    until(lambda: status(http, "dropped") == 404, seconds=30)
    gone = http.post(GENERATE, json={"prompt": "a", "model": "demo+dropped", "steps": 2})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


def test_a_name_follows_its_file(live: Server, paint: Paint, dropped: Path, http: httpx.Client) -> None:
    shutil.copy(live.loras / "sunset.safetensors", dropped)
    until(lambda: status(http, "dropped") == 200, seconds=30)
    before = paint(model="demo+dropped")

    shutil.copy(live.loras / "stripes.safetensors", dropped)

    until(lambda: paint(model="demo+dropped") == paint(model="demo+stripes"), seconds=30)
    assert before == paint(model="demo+sunset")
