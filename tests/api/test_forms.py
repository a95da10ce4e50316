"""Tests api/asks/forms.py and api/asks/parse.py: a picture field is a row of the table, in JSON and in forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request

from sdxl_gateway.api.asks.body import ask_of
from sdxl_gateway.api.asks.field import EDIT, Field, Kind
from sdxl_gateway.api.asks.fields import MAX_IMAGES, wire_fields
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import GatewayError
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import DATA_URL, JPEG, PNG

# Two picture fields that no other line of the house knows.
ADDED = (
    Field("pose_image", Kind.PICTURE, "Guides the painting.", EDIT, ("pose",), extension=True),
    Field("swatches", Kind.PICTURES, "Look like these.", EDIT, extension=True),
)
RULES = Rules(Limits(), fields=(*wire_fields(Limits()), *ADDED))
BASE = (part("prompt", "a cat"), file("image", PNG))


async def read(headers: dict[str, str], body: bytes) -> ReadAsk:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}, receive)
    return await ask_of(request, Operation.EDIT, RULES, 2**20)


async def read_json(**fields: Any) -> ReadAsk:
    body = {"prompt": "a cat", "image": DATA_URL, **fields}
    return await read({"content-type": "application/json"}, json.dumps(body).encode())


@pytest.mark.parametrize("name", ["pose_image", "pose_image[]", "pose_image[0]", "pose", "pose[]"])
async def test_an_added_picture_comes_in_a_form(name: str) -> None:
    found = await read(FORM, form(*BASE, part(name, "<file>"), file(name, JPEG)))
    assert [(one.field, one.data) for one in found.pictures["pose_image"]] == [("pose_image", JPEG)]
    assert [one.data for one in found.ask.images] == [PNG]
    assert (found.ask.mask, found.ignored) == (None, ())


@pytest.mark.parametrize("names", [("swatches", "swatches"), ("swatches[]",) * 2, ("swatches[0]", "swatches[1]")])
async def test_added_pictures_come_in_a_form(names: tuple[str, str]) -> None:
    found = await read(FORM, form(*BASE, file(names[0], JPEG), file(names[1], PNG)))
    assert [(one.field, one.data) for one in found.pictures["swatches"]] == [
        ("swatches[0]", JPEG),
        ("swatches[1]", PNG),
    ]


@pytest.mark.parametrize("name", ["pose_image", "pose"])
async def test_an_added_picture_comes_in_json(name: str) -> None:
    found = await read_json(**{name: {"image_url": DATA_URL}}, swatches=[DATA_URL, DATA_URL])
    assert [one.data for one in found.pictures["pose_image"]] == [PNG]
    assert [one.field for one in found.pictures["swatches"]] == ["swatches[0]", "swatches[1]"]
    assert found.ignored == ()


async def test_absent_pictures_are_none() -> None:
    for found in (await read(FORM, form(*BASE, part("pose_image", ""))), await read_json(control_image="")):
        there = {name: len(pictures) for name, pictures in found.pictures.items()}
        assert there == dict.fromkeys(there, 0) | {"image": 1}
        assert {"mask", "control_image", "pose_image", "swatches"} <= there.keys()


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ([file("pose_image", b"x")], "pose_image", "invalid_image_file"),
        ([file("pose", b"", "a.png")], "pose_image", "empty_image_file"),
        ([file("swatches", PNG), file("swatches", b"x")], "swatches[1]", "invalid_image_file"),
        ([file("swatches[]", PNG)] * (MAX_IMAGES + 1), "swatches", "array_above_max_length"),
    ],
    ids=["no-picture", "empty", "second", "too-many"],
)
async def test_a_bad_added_picture_is_named(parts: list[bytes], param: str, code: str) -> None:
    with pytest.raises(GatewayError) as refused:
        await read(FORM, form(*BASE, *parts))
    assert (refused.value.param, refused.value.code) == (param, code)
