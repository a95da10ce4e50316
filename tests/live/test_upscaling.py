"""Large pictures through the whole server: enlarged by a net, in tiles, while others are painted."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.kit.loopback import loopback
from tests.kit.servers import Server, server
from tests.kit.upscaler_files import compact, written

DETAIL_TILES = 'sdxl_gateway_stage_duration_seconds_count{stage="detail"}'
BAD_DETAILS: list[tuple[str, object]] = [("detail", one) for one in (-0.1, 1.1, "much", True, 0.3)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("large")
    path = written(compact(4), folder / "sharp.safetensors")
    with server(folder, upscalers__sharp__path=str(path)) as one:
        yield one


def painted(one: Server, **said: Any) -> tuple[Image.Image, dict[str, Any]]:
    body = {"model": "demo", "prompt": "a red circle", "steps": 2, "seed": 7, "response_format": "b64_json", **said}
    answer = loopback.post(f"{one.url}/v1/images/generations", json=body, timeout=240)
    assert answer.status_code == 200, answer.text
    entry = answer.json()["data"][0]
    return Image.open(io.BytesIO(base64.b64decode(entry["b64_json"]))), entry["recipe"]


def test_four_megapixels_and_sixteen(large: Server) -> None:
    image, recipe = painted(large, size="2048x2048")
    assert (image.size, recipe["upscaler"]) == ((2048, 2048), "sharp")
    image, recipe = painted(large, size="1024x1024", upscale=4)
    assert (image.size, recipe["size"], recipe["upscale"]) == ((4096, 4096), "1024x1024", 4)


def test_its_recipe_paints_it_again(large: Server) -> None:
    first, recipe = painted(large, size="128x128", upscale=2)
    again, _ = painted(large, recipe=recipe)
    assert again.tobytes() == first.tobytes()
    recipe["upscaler_digest"] = "0" * 64
    refused = loopback.post(f"{large.url}/v1/images/generations", json={"recipe": recipe}).json()["error"]
    assert (refused["code"], refused["param"]) == ("recipe_changed", "recipe.upscaler_digest")


def test_a_detail_pass_and_the_same_again(large: Server) -> None:
    said = {"size": "64x64", "upscale": 2, "detail": 0.5, "steps": 4}
    first, recipe = painted(large, **said)
    tiles = large.metric(DETAIL_TILES)
    plain, bare = painted(large, **said | {"detail": 0})
    again, _ = painted(large, recipe=recipe, steps=4)
    assert (first.size, recipe["detail"], "detail" in bare) == ((128, 128), 0.5, False)
    assert first.tobytes() == again.tobytes() != plain.tobytes()
    assert large.metric(DETAIL_TILES) - tiles == 9 * (2 + 2)


def test_one_that_leaves_midway_is_forgotten(large: Server) -> None:
    said = {"size": "128x128", "upscale": 4, "detail": 1.0, "steps": 50}
    alone, _ = painted(large, size="64x64", steps=3)
    with pytest.raises(httpx.ReadTimeout):
        loopback.post(f"{large.url}/v1/images/generations", json={"prompt": "a", "model": "demo", **said}, timeout=3)
    again, _ = painted(large, size="64x64", steps=3)
    assert again.tobytes() == alone.tobytes()
    assert large.metric('sdxl_gateway_cancelled_total{stage="painting"}') == 1


def test_others_are_painted_between_its_tiles(large: Server) -> None:
    alone, _ = painted(large, size="64x64", steps=8)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(painted, large, size="1024x1024", upscale=4)
        quick = pool.submit(painted, large, size="64x64", steps=8)
        assert quick.result()[0].tobytes() == alone.tobytes()
        assert slow.result()[0].size == (4096, 4096)


@pytest.mark.parametrize(
    ("param", "value"), [("upscale", 3), ("upscale", 8), ("upscale", "x"), ("upscaler", "no"), *BAD_DETAILS]
)
def test_what_cannot_be_is_refused(large: Server, param: str, value: object) -> None:
    answer = loopback.post(f"{large.url}/v1/images/generations", json={"prompt": "a", param: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
