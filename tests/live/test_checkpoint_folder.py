"""Checkpoints come and go while the server runs, in less memory than they take: time passes, no picture suffers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import torch

from tests.kit.live_pictures import Pixels, farthest, pixels
from tests.kit.loopback import loopback
from tests.kit.model_folders import UNET_FILE, change_weights, copy_of_demo
from tests.kit.servers import Server, server, until
from tests.kit.single_files import write_single_file

GENERATE = "/v1/images/generations"
LOADS = 'sdxl_gateway_model_load_seconds_count{kind="checkpoint",source="%s"}'
NAMES = ("demo", "one", "two")


def checkpoint(folder: Path, factor: float) -> Path:
    """A sibling of the demo model that paints otherwise."""
    copy_of_demo(folder)
    change_weights(folder / UNET_FILE, lambda tensors: tensors.update({k: v * factor for k, v in tensors.items()}))
    return folder


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Room for one checkpoint on the device and for copies of two in host memory."""
    folder = tmp_path_factory.mktemp("tight")
    checkpoint(folder / "checkpoints" / "one", 1.05)
    checkpoint(folder / "checkpoints" / "two", 0.95)
    size = sum(path.stat().st_size for path in (folder / "checkpoints" / "one").rglob("*.safetensors"))
    room = str(5 * size)
    with server(folder, memory__vram_budget_bytes=str(2**20), memory__host_budget_bytes=room) as one:
        yield one


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Room for all, and no patience."""
    folder = tmp_path_factory.mktemp("hasty")
    checkpoint(folder / "checkpoints" / "one", 1.05)
    with server(folder, engine__load_wait_seconds="0.02", memory__vram_budget_bytes=str(2**30)) as one:
        yield one


def asked(one: Server, model: str, **said: Any) -> httpx.Response:
    body = {"prompt": "a red circle", "size": "64x64", "steps": 2, "seed": 3, "response_format": "b64_json"}
    return loopback.post(one.url + GENERATE, json={**body, "guidance_scale": 1.0, "model": model, **said}, timeout=240)


def painted(answer: httpx.Response) -> Pixels:
    assert answer.status_code == 200, answer.text
    return pixels(answer.json()["data"][0]["b64_json"])


def listed(one: Server) -> dict[str, str]:
    """Whether each checkpoint is warm."""
    found = loopback.get(f"{one.url}/v1/models").json()["data"]
    return {card["id"]: card["ready"] for card in found if card["kind"] == "checkpoint"}


def test_a_single_file_laid_there_paints(tight: Server) -> None:
    file = tight.folder / "checkpoints" / "single.safetensors"
    file.with_suffix(".toml").write_text('config = "demo"\nguidance_scale = 1.0')
    write_single_file(tight.folder / "single", dtype=torch.float32).rename(file)
    until(lambda: "single" in listed(tight), seconds=60)
    assert farthest(painted(asked(tight, "single")), painted(asked(tight, "demo"))) <= 1
    file.unlink()
    until(lambda: "single" not in listed(tight), seconds=60)
    assert asked(tight, "single").status_code == 404


@pytest.fixture
def drop(tight: Server) -> Iterator[Callable[[float], Path]]:
    """Lays a third checkpoint into the folder; it is gone afterwards, and the server knows."""
    target = tight.folder / "checkpoints" / "three"

    def drop(factor: float) -> Path:
        checkpoint(tight.folder / "away", factor).rename(target)
        until(lambda: "three" in listed(tight), seconds=60)
        return target

    yield drop
    shutil.rmtree(target, ignore_errors=True)
    until(lambda: "three" not in listed(tight), seconds=60)


def test_every_picture_is_the_one_painted_alone(tight: Server, drop: Callable[[float], Path]) -> None:
    alone = {name: painted(asked(tight, name)) for name in NAMES}
    long = painted(asked(tight, "demo", steps=40))
    with ThreadPoolExecutor(6) as pool:
        running = pool.submit(asked, tight, "demo", steps=40)
        drop(0.9)
        alone["three"] = painted(asked(tight, "three"))
        assert farthest(painted(running.result()), long) == 0
        order = [*alone] * 4
        Random(5).shuffle(order)
        together: list[Future[httpx.Response]] = [pool.submit(asked, tight, name) for name in order]
        pictures = [painted(one.result()) for one in together]
    assert [name for name, one in zip(order, pictures, strict=True) if farthest(one, alone[name]) > 1] == []
    assert min(farthest(alone[a], alone[b]) for a in alone for b in alone if a < b) > 2
    assert tight.metric(LOADS % "host") > 0, "no copy was used"
    assert tight.metric(LOADS % "disk") > len(NAMES), "none had to make room"
    assert sorted(listed(tight).values()).count("warm") < len(alone)
    assert tight.metric('sdxl_gateway_images_generated_total{model="three"}') >= 4


def test_what_is_deleted_while_its_job_waits_is_not_found(tight: Server, drop: Callable[[float], Path]) -> None:
    alone = painted(asked(tight, "demo"))
    folder = drop(0.85)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(asked, tight, "demo", steps=150)
        until(lambda: tight.metric("sdxl_gateway_requests_in_flight") == 1, seconds=60)
        waiting = pool.submit(asked, tight, "three")
        until(lambda: tight.metric("sdxl_gateway_queue_depth") == 1, seconds=60)
        shutil.rmtree(folder)
        painted(running.result())
        answer = waiting.result()
    told = answer.status_code, answer.json()["error"]["code"]
    assert told in {(404, "model_not_found"), (503, "server_is_overloaded")}, "gone, or seen while it was going"
    assert farthest(painted(asked(tight, "demo")), alone) == 0


def test_a_load_that_takes_long_is_a_503_and_goes_on(hasty: Server) -> None:
    assert listed(hasty) == {"demo": "warm", "one": "cold"}
    first = asked(hasty, "one")
    assert (first.status_code, first.json()["error"]["code"]) == (503, "model_loading")
    assert int(first.headers["retry-after"]) >= 1
    until(lambda: listed(hasty)["one"] == "warm", seconds=60)
    painted(asked(hasty, "one"))
    assert hasty.metric(LOADS % "disk") == 1


def test_what_cannot_be_used_is_told_beside_the_models(hasty: Server) -> None:
    (hasty.folder / "checkpoints" / "old.ckpt").write_bytes(b"pickled")
    (hasty.folder / "checkpoints" / "one.toml").write_text('steps = "many"')

    def problems() -> dict[str, str]:
        told = loopback.get(f"{hasty.url}/v1/checkpoints").json()["problems"]
        return {one["file"]: one["code"] for one in told}

    expected = {"old.ckpt": "invalid_checkpoint", "one.toml": "invalid_sidecar"}
    until(lambda: problems() == expected, seconds=60)
    assert list(listed(hasty)) == ["demo", "one"]
