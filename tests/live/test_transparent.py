"""A server with the demo's matte model hands out pictures whose subject stands alone."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from openai import OpenAI
from PIL import Image

from sdxl_gateway.config import DEMO_MATTE
from tests.kit.live_pictures import pixels, png
from tests.kit.servers import TROUBLE, Server, server

ASKED = {"prompt": "a large red circle on a blue background", "seed": 3, "response_format": "b64_json"}
CUT_OUT = {**ASKED, "background": "transparent"}
FAINT = 26
"""A tenth, which no eye sees."""
MADE = 'sdxl_gateway_matte_duration_seconds_count{outcome="made"}'
STYLE = '[models.sticker]\ncheckpoint = "demo"\nbackground = "transparent"\n'


@pytest.fixture(scope="module")
def matting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("matting")
    (folder / "config.toml").write_text(STYLE, "utf-8")
    with server(folder, matting__path="demo") as one:
        yield one
    assert TROUBLE.findall(one.log) == []


@pytest.fixture(scope="module")
def client(matting: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=matting.url, timeout=120) as one:
        yield one


def generated(client: httpx.Client, **said: Any) -> dict[str, Any]:
    answer = client.post("/v1/images/generations", json=said)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture(scope="module")
def reply(client: httpx.Client) -> dict[str, Any]:
    return generated(client, **CUT_OUT)


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def alpha(image: Image.Image) -> npt.NDArray[np.uint8]:
    assert image.mode == "RGBA"
    return np.asarray(image.getchannel("A"))


def cut_out(image: Image.Image) -> bool:
    """The circle is there, whole, and the ground is not."""
    seen, middle = alpha(image), image.height // 2
    corners = [seen[y, x] for y in (2, -3) for x in (2, -3)]
    return bool(
        seen[middle, image.width // 2] > 255 - FAINT and max(corners) < FAINT and 0.2 < (seen > 127).mean() < 0.7
    )


def test_the_subject_stands_alone(client: httpx.Client, reply: dict[str, Any]) -> None:
    image = opened(reply["data"][0]["b64_json"])
    assert (image.size, cut_out(image)) == ((256, 256), True)
    assert (reply["background"], reply["data"][0]["recipe"]["background"]) == ("transparent", "transparent")
    opaque = generated(client, **ASKED)
    assert (opaque["background"], opaque["usage"]) == ("opaque", reply["usage"])
    assert np.array_equal(pixels(opaque["data"][0]["b64_json"]), pixels(reply["data"][0]["b64_json"]))


@pytest.mark.parametrize("size", ["320x200", "512x512"])
def test_alpha_has_the_size_that_was_asked_for(client: httpx.Client, size: str) -> None:
    image = opened(generated(client, **CUT_OUT, size=size)["data"][0]["b64_json"])
    assert (f"{image.width}x{image.height}", cut_out(image)) == (size, True)


@pytest.mark.parametrize(("output_format", "media_type"), [("png", "image/png"), ("webp", "image/webp")])
def test_behind_an_address(client: httpx.Client, output_format: str, media_type: str) -> None:
    said = CUT_OUT | {"response_format": "url", "output_format": output_format, "embed_recipe": True}
    fetched = client.get(generated(client, **said)["data"][0]["url"])
    assert fetched.headers["content-type"] == media_type
    image = Image.open(io.BytesIO(fetched.content))
    assert cut_out(image)
    told = client.post("/v1/images/recipe", files={"image": ("a", fetched.content)}).json()
    assert told["recipe"]["background"] == "transparent"


def test_a_recipe_sent_back_cuts_out_again(client: httpx.Client, reply: dict[str, Any]) -> None:
    recipe = reply["data"][0]["recipe"]
    again = generated(client, recipe=recipe, response_format="b64_json")
    assert again["data"][0]["b64_json"] == reply["data"][0]["b64_json"]
    changed = client.post("/v1/images/generations", json={"recipe": {**recipe, "matte_digest": "0" * 64}})
    error = changed.json()["error"]
    assert (changed.status_code, error["param"]) == (409, "recipe.matte_digest")


def test_two_at_once(client: httpx.Client, matting: Server) -> None:
    before = matting.metric(MADE)
    both = [opened(one["b64_json"]) for one in generated(client, **CUT_OUT, n=2)["data"]]
    assert all(cut_out(image) for image in both)
    assert matting.metric(MADE) - before == 2
    assert both[0].tobytes() != both[1].tobytes()


def test_looks_are_opaque_and_the_picture_is_not(matting: Server) -> None:
    with OpenAI(base_url=f"{matting.url}/v1", api_key="unused", max_retries=0, timeout=120) as openai:
        extra = {"seed": 3}
        asked = {"prompt": ASKED["prompt"], "background": "transparent"}
        events = list(openai.images.generate(**asked, stream=True, partial_images=2, extra_body=extra))  # type: ignore[call-overload]
    assert [event.background for event in events] == ["opaque", "opaque", "transparent"]
    assert [opened(event.b64_json).mode for event in events] == ["RGB", "RGB", "RGBA"]
    assert cut_out(opened(events[-1].b64_json))


def test_an_edit_keeps_its_colours_below_the_alpha(client: httpx.Client) -> None:
    before = Image.new("RGB", (256, 256), (40, 90, 215))
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (40, 40, 216, 216))
    files = {"image": ("a.png", png(before)), "mask": ("m.png", png(mask))}
    answer = client.post("/v1/images/edits", data={k: str(v) for k, v in CUT_OUT.items()}, files=files)
    assert answer.status_code == 200, answer.text
    image = opened(answer.json()["data"][0]["b64_json"])
    colours = np.asarray(image)[:, :, :3]
    assert (colours[:40] == (40, 90, 215)).all()
    assert alpha(image)[:30].max() < FAINT


def test_auto_is_what_the_style_says_where_the_format_can_hold_it(client: httpx.Client) -> None:
    few = {"prompt": "a star", "steps": 2}
    told = {
        (model, ending): generated(client, model=model, output_format=ending, **few)["background"]
        for model in ("demo", "sticker")
        for ending in ("png", "jpeg")
    }
    assert told.pop(("sticker", "png")) == "transparent"
    assert set(told.values()) == {"opaque"}
    assert generated(client, model="sticker", background="opaque", **few)["background"] == "opaque"


def test_a_client_can_know_before_it_asks(client: httpx.Client, http: httpx.Client) -> None:
    here, there = (one.get("/v1/models/demo").json()["capabilities"]["background"] for one in (client, http))
    assert (here, there) == (["auto", "opaque", "transparent"], ["auto", "opaque"])


def test_a_jpeg_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/images/generations", json={**CUT_OUT, "output_format": "jpeg"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")


@pytest.mark.parametrize("path", ["generations", "edits"])
def test_without_a_matte_model_the_answer_says_what_to_configure(http: httpx.Client, path: str) -> None:
    said: dict[str, Any] = {"prompt": "a star", "background": "transparent"}
    if path == "edits":
        said["images"] = [{"image_url": base64.b64encode(png(Image.new("RGB", (64, 64)))).decode()}]
    answer = http.post(f"/v1/images/{path}", json=said)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "background")
    assert "[matting] path" in error["message"]


def test_a_broken_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(DEMO_MATTE.read_bytes()[:50_000])
    (tmp_path / "config.toml").write_text('[matting]\npath = "cut.onnx"\n', "utf-8")
    command = [sys.executable, "-m", "sdxl_gateway", "serve", "--port", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "matting.path: cut.onnx cannot be used as a matte model" in done.stderr
    assert "Traceback" not in done.stderr
