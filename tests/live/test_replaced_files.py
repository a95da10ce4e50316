"""Files that the settings name are replaced while the server runs: the next picture is made with what lies there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file, save_file

from tests.kit.control_folders import control_folder
from tests.kit.ip_adapters import section
from tests.kit.live_pictures import pixels
from tests.kit.loopback import loopback
from tests.kit.model_folders import UNET_FILE, copy_of_demo
from tests.kit.pictures import DATA_URL
from tests.kit.servers import TROUBLE, Server, server, until
from tests.kit.single_files import write_single_file
from tests.kit.upscaler_files import compact, written

WEIGHTS = "diffusion_pytorch_model.safetensors"
GENERATE = "/v1/images/generations"
KINDS: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], str]]] = {
    "upscaler": ({"upscale": 2}, lambda recipe: recipe["upscaler_digest"]),
    "control": ({"controls": [{"type": "canny", "image": DATA_URL}]}, lambda recipe: recipe["controls"][0]["digest"]),
    "ip_adapter": ({"references": [{"image": DATA_URL}]}, lambda recipe: recipe["ip_adapter"]["digest"]),
    "checkpoint": ({"model": "folder"}, lambda recipe: recipe["checkpoint_digest"]),
    "checkpoint_file": ({"model": "single"}, lambda recipe: recipe["checkpoint_digest"]),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    adapter = section(folder / "adapter")
    return {
        "upscaler": written(compact(4), folder / "sharp.safetensors"),
        "control": control_folder(folder / "canny") / WEIGHTS,
        "ip_adapter": Path(adapter.path),
        "encoder": Path(adapter.image_encoder),
        "checkpoint": copy_of_demo(folder / "mine") / UNET_FILE,
        "checkpoint_file": write_single_file(folder / "single.safetensors"),
    }


@pytest.fixture(scope="module")
def house(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings: dict[str, Any] = {
        "upscalers__sharp__path": str(files["upscaler"]),
        "controls__canny__path": str(files["control"].parent),
        "ip_adapter__path": str(files["ip_adapter"]),
        "ip_adapter__image_encoder": str(files["encoder"]),
        "checkpoints__demo__path": "demo",
        "checkpoints__folder__path": str(files["checkpoint"].parents[1]),
        "checkpoints__single__path": str(files["checkpoint_file"]),
        "checkpoints__single__config": "demo",
    }
    with server(tmp_path_factory.mktemp("house"), **settings) as one:
        yield one
    assert TROUBLE.findall(one.log) == []


def asked(one: Server, **said: Any) -> httpx.Response:
    """A recipe says itself which model it was."""
    body: dict[str, Any] = {"prompt": "a red circle", "size": "64x64", "steps": 2, "seed": 3, "guidance_scale": 1}
    body |= {"response_format": "b64_json"} if "recipe" in said else {"response_format": "b64_json", "model": "demo"}
    return loopback.post(one.url + GENERATE, json=body | said, timeout=240)


def painted(answer: httpx.Response) -> tuple[bytes, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    entry = answer.json()["data"][0]
    return pixels(entry["b64_json"]).tobytes(), entry["recipe"]


def renamed(source: Path, target: Path) -> None:
    beside = target.with_name("beside.tmp")
    shutil.copyfile(source, beside)
    beside.replace(target)


def written_over(source: Path, target: Path) -> None:
    with target.open("r+b") as file:
        file.write(source.read_bytes())
        file.truncate()


def other_weights(source: Path, target: Path) -> Path:
    save_file({name: tensor * 1.3 for name, tensor in load_file(source).items()}, target)
    return target


@pytest.mark.parametrize("replace", [renamed, written_over])
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_picture_is_made_with_the_new_one(
    house: Server, files: dict[str, Path], tmp_path: Path, kind: str, replace: Callable[[Path, Path], None]
) -> None:
    said, digest_in = KINDS[kind]
    file, kept = files[kind], tmp_path / "kept"
    shutil.copyfile(file, kept)
    before, old = painted(asked(house, **said))
    replace(other_weights(file, tmp_path / "other"), file)
    after, new = painted(asked(house, **said))
    assert digest_in(new) != digest_in(old)
    assert after != before
    assert digest_in(new) != digest_in(old)
    refused = asked(house, **{key: value for key, value in said.items() if key != "model"}, recipe=old)
    assert refused.status_code == (200 if kind == "control" else 409)
    replace(kept, file)
    assert painted(asked(house, **said)) == (before, old)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_cut_short_is_refused_or_what_it_was(house: Server, files: dict[str, Path], kind: str) -> None:
    said, _ = KINDS[kind]
    before = painted(asked(house, **said))
    whole = files[kind].read_bytes()
    files[kind].write_bytes(whole[: len(whole) // 2])
    answer = asked(house, **said)
    assert answer.status_code == 503 or painted(answer) == before
    files[kind].write_bytes(whole)
    assert painted(asked(house, **said)) == before


@pytest.mark.parametrize("kind", ["checkpoint", "checkpoint_file"])
def test_a_picture_that_is_painted_meanwhile_stays_the_old_ones(
    house: Server, files: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    said, digest_in = KINDS[kind]
    file, kept = files[kind], tmp_path / "kept"
    shutil.copyfile(file, kept)
    alone = painted(asked(house, **said, steps=60))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asked, house, **said, steps=60)
        until(lambda: house.metric("sdxl_gateway_requests_in_flight") == 1, seconds=60)
        renamed(other_weights(file, tmp_path / "other"), file)
        _, new = painted(asked(house, **said))
        assert painted(running.result()) == alone
    assert digest_in(new) != digest_in(alone[1])
    ready = {card["id"]: card["ready"] for card in loopback.get(f"{house.url}/v1/models").json()["data"]}
    assert ready[said["model"]] == "warm"
    renamed(kept, file)
    assert painted(asked(house, **said, steps=60)) == alone
