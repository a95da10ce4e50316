"""A picture's file is asked how it was made."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.written import Written
from tests.kit.api import client, served_api
from tests.kit.pictures import DATA_URL, PNG

RECIPE = {"task": "text_to_image", "prompt": "a fox", "seed": 7}
PAINTED = encode(Image.open(io.BytesIO(PNG)), "webp", written=Written("a fox\nSteps: 20", RECIPE))


async def test_what_it_says() -> None:
    async with client(served_api()) as http:
        answer = await http.post("/v1/images/recipe", files={"image": ("a.webp", PAINTED, "image/webp")})
    assert answer.json() == {"object": "image.recipe", "recipe": RECIPE, "parameters": "a fox\nSteps: 20"}


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"json": {"image": DATA_URL}}, 404, "image", "no_recipe"),
    ({"json": {}}, 400, "image", "missing_required_parameter"),
    ({"json": {"image": 7}}, 400, "image", "invalid_type"),
    ({"json": {"image": "aGVsbG8="}}, 400, "image", "invalid_image_file"),
    ({"json": {"image": "http://example.com/a.png"}}, 400, "image", "invalid_image_url"),
    ({"files": {"image": ("a.png", b"", "image/png")}}, 400, "image", "empty_image_file"),
    ({"files": {"image": ("a.png", PNG[:16], "image/png")}}, 400, "image", "invalid_image_file"),
]


@pytest.mark.parametrize(("sent", "status", "param", "code"), REFUSED)
async def test_what_says_nothing_or_is_no_picture(sent: dict[str, Any], status: int, param: str, code: str) -> None:
    async with client(served_api()) as http:
        answer = await http.post("/v1/images/recipe", **sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
