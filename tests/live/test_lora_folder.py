"""The LoRA folder while the server runs: files come, go and may be anything; the API changes it for admins only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sdxl_gateway.catalog.checkpoints import module_shapes
from sdxl_gateway.config import DEMO_MODEL
from tests.catalog.files import file_bytes, lora_tensors, raw_file
from tests.live.conftest import Paint
from tests.live.servers import Server, until

GENERATE = "/v1/images/generations"
ATTENTION = {name: shape for name, shape in module_shapes(DEMO_MODEL).items() if name.endswith(".to_q")}
BROKEN = {
    "cut": raw_file({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"1234"),
    "rubbish": b"this is no safetensors file at all, whatever it is called",
    "pickle": b"\x80\x04\x95" + bytes(200),
    "wide": file_bytes(lora_tensors({name: (rows * 2, columns) for name, (rows, columns) in ATTENTION.items()})),
    "foreign": file_bytes(
        {"some.other.model.layer.lora_A.weight": (4, 32), "some.other.model.layer.lora_B.weight": (32, 4)}
    ),
}


@pytest.fixture
def dropped(live: Server) -> Iterator[Path]:
    """Where a file can be dropped; it is gone afterwards."""
    path = live.loras / "dropped.safetensors"
    yield path
    path.unlink(missing_ok=True)


def status(http: httpx.Client, name: str) -> int:
    return http.get(f"/v1/models/{name}").status_code


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


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_else_changes(
    kind: str, live: Server, http: httpx.Client, paint: Paint, dropped: Path
) -> None:
    before = paint()
    path = live.loras / f"{kind}.safetensors"
    path.write_bytes(BROKEN[kind])
    try:
        # Once this later file is known, the other one was looked at too.
        shutil.copy(live.loras / "sunset.safetensors", dropped)
        until(lambda: status(http, "dropped") == 200, seconds=30)
        answer = http.post(GENERATE, json={"prompt": "a", "steps": 2, "model": f"demo+{kind}"})
    finally:
        path.unlink()

    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert error["type"] == "invalid_request_error"
    assert kind in error["message"]
    assert str(live.folder) not in error["message"]
    assert paint() == before
