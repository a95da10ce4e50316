"""openai-node and the AI SDK, as npm gives them: what they send is painted, what they get they can read."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.live_pictures import farthest, pixels, png
from tests.kit.servers import Server
from tests.live.conftest import Paint

BLEND = "demo+outline:0.8"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, colour in (("first", (200, 40, 40)), ("second", (40, 40, 200))):
        (folder / f"{name}.png").write_bytes(png(Image.new("RGB", (256, 256), colour)))
    return folder


def run(script: str, installed: Path, live: Server, pictures: Path) -> dict[str, Any]:
    command = ["node", script, f"{live.url}/v1", str(pictures)]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def openai_node(installed: Path, live: Server, pictures: Path) -> dict[str, Any]:
    return run("openai.mjs", installed, live, pictures)


@pytest.fixture(scope="module")
def ai_sdk(installed: Path, live: Server, pictures: Path) -> dict[str, Any]:
    return run("ai_sdk.mjs", installed, live, pictures)


@pytest.fixture(params=["openai_node", "ai_sdk"])
def client(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.getfixturevalue(request.param)
    return found


def test_a_lora_behind_a_built_in_name_is_painted_with(client: dict[str, Any], paint: Paint) -> None:
    assert len(client["blend"]) == 2
    for seed, picture in zip((7, 8), client["blend"], strict=True):
        assert farthest(pixels(picture), pixels(paint(model=BLEND, steps=2, seed=seed))) <= 1


def test_of_a_list_of_pictures_the_first_is_edited(client: dict[str, Any]) -> None:
    (edited,) = client["edit"]
    means = pixels(edited).mean(axis=(0, 1))
    assert means[0] > means[2]


def test_an_unknown_lora_is_a_404_that_names_it(client: dict[str, Any]) -> None:
    refusal = client["unknown_lora"]
    assert refusal["status"] == 404
    assert "no-such-lora" in refusal["message"]


def test_openai_node_reads_the_warning_of_the_second_picture(openai_node: dict[str, Any]) -> None:
    assert "image" in openai_node["warning"]


def test_openai_node_gets_variations(openai_node: dict[str, Any]) -> None:
    assert [pixels(picture).shape for picture in openai_node["variation"]] == [(256, 256, 3)]


def test_openai_node_reads_the_stream(openai_node: dict[str, Any], paint: Paint) -> None:
    *partial, last = openai_node["stream"]
    assert [(event["type"], event["index"]) for event in partial] == [
        ("image_generation.partial_image", 0),
        ("image_generation.partial_image", 1),
    ]
    assert last["type"] == "image_generation.completed"
    assert base64.b64decode(last["picture"]) == base64.b64decode(paint(model="demo"))


def test_openai_node_knows_the_models(openai_node: dict[str, Any]) -> None:
    assert {"demo", "outline"} <= set(openai_node["listed"])
    assert openai_node["retrieved"]["id"] == "gpt-image-1+outline:0.8"
    assert openai_node["retrieved"]["object"] == "model"


def test_openai_node_knows_refusals_by_kind(openai_node: dict[str, Any]) -> None:
    for name in ("unknown_lora", "unknown_model"):
        assert openai_node[name]["kind"] == "NotFoundError"
        assert (openai_node[name]["code"], openai_node[name]["param"]) == ("model_not_found", "model")
