"""A picture's own file is enough to paint it again."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.live.conftest import Paint


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_from_its_file_alone(http: httpx.Client, paint: Paint, output_format: str) -> None:
    written = {"output_format": output_format, "embed_recipe": True}
    first = paint(model="demo+sunset:0.8", size="128x128", **written)
    said = http.post("/v1/images/recipe", files={"image": ("a", base64.b64decode(first))}).json()
    answer = http.post("/v1/images/generations", json={"recipe": said["recipe"], **written})
    assert answer.json()["data"][0]["b64_json"] == first


def test_a_digest_that_is_gone(http: httpx.Client) -> None:
    asked = {"model": "demo+sunset:0.8", "prompt": "a star", "steps": 1, "size": "64x64"}
    recipe = http.post("/v1/images/generations", json=asked).json()["data"][0]["recipe"]
    recipe["loras"][0]["digest"] = "0" * 64
    answer = http.post("/v1/images/generations", json={"recipe": recipe})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (409, "recipe_changed", "recipe.loras[0].digest")
    assert answer.headers["x-should-retry"] == "false"
