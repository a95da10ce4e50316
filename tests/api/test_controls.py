"""`controls` in JSON and in forms, with their pictures inside or beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdxl_gateway.core.ask import ControlRef, Upload
from tests.kit.api import ServedApi, client, served_api
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import DATA_URL, JPEG, PNG

GENERATE, EDIT = "/v1/images/generations", "/v1/images/edits"


async def asked(served: ServedApi, path: str, headers: dict[str, str], body: bytes) -> tuple[ControlRef, ...]:
    async with client(served) as http:
        answer = await http.post(path, headers=headers, content=body)
    assert answer.status_code == 200, answer.text
    return served.gateway.asks[-1].controls


async def in_json(served: ServedApi, **fields: Any) -> tuple[ControlRef, ...]:
    return await asked(served, GENERATE, {}, json.dumps({"prompt": "a cat", **fields}).encode())


async def in_form(served: ServedApi, *parts: bytes, path: str = GENERATE) -> tuple[ControlRef, ...]:
    return await asked(served, path, FORM, form(part("prompt", "a cat"), *parts))


def ref(kind: str = "canny", field: str = "controls[0].image", data: bytes = PNG, **more: Any) -> ControlRef:
    return ControlRef(kind, Upload(field, data), **more)


WHOLE = {"type": "canny", "image": DATA_URL, "weight": 0.5, "start": 0.1, "end": 0.8, "mode": 3, "preprocess": "line"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([{"type": "canny", "image": DATA_URL}], ref()),
        ({"type": " canny ", "image": {"image_url": DATA_URL}}, ref(field="controls[0].image.image_url")),
        ([WHOLE], ref(weight=0.5, start=0.1, end=0.8, mode="3", preprocess="line")),
        (json.dumps([WHOLE]), ref(weight=0.5, start=0.1, end=0.8, mode="3", preprocess="line")),
        ([{"model": "canny", "image_url": DATA_URL, "scale": "1.5"}], ref(field="controls[0].image_url", weight=1.5)),
        ([{"type": "canny", "image": DATA_URL, "preprocess": False}], ref(preprocess=False)),
        ([{"type": "canny", "image": DATA_URL, "preprocess": "true"}], ref(preprocess=True)),
        ([{"type": "canny", "image": DATA_URL, "mode": None, "weight": ""}], ref()),
        ([{"type": "canny", "image": DATA_URL, "digest": "a" * 64}], ref(digest="a" * 64)),
        ([], None),
        ("", None),
    ],
)
async def test_spellings_in_json(given: Any, expected: ControlRef | None) -> None:
    assert await in_json(served_api(), controls=given) == ((expected,) if expected else ())


async def test_entries_without_a_picture_take_those_beside_them() -> None:
    controls = ["canny", {"type": "depth", "image": DATA_URL}, {"type": "blur"}]
    found = await in_json(served_api(), controls=controls, control_image=[DATA_URL, {"b64_json": DATA_URL}])
    assert [(one.type, one.image.field, one.param) for one in found] == [
        ("canny", "control_image[0]", "controls[0]"),
        ("depth", "controls[1].image", "controls[1]"),
        ("blur", "control_image[1].b64_json", "controls[2]"),
    ]


BOTH = [{"type": "canny", "weight": 0.5}, {"type": "depth", "weight": 0.7}]
PICTURES = (file("control_image[]", PNG), file("control_image[]", JPEG))


@pytest.mark.parametrize(
    "parts",
    [
        [part("controls", json.dumps(BOTH))],
        [part(f"controls[][{key}]", str(one[key])) for one in BOTH for key in one],
        [part(f"controls[{i}][{key}]", str(one[key])) for i, one in enumerate(BOTH) for key in one],
    ],
    ids=["json", "columns", "numbers"],
)
@pytest.mark.parametrize("path", [GENERATE, EDIT])
async def test_forms(parts: list[bytes], path: str) -> None:
    found = await in_form(served_api(), file("image", PNG) if path == EDIT else b"", *parts, *PICTURES, path=path)
    assert found == (
        ref("canny", "control_image[0]", PNG, weight=0.5),
        ref("depth", "control_image[1]", JPEG, weight=0.7),
    )


async def test_words_in_a_form() -> None:
    for words in ([part("controls[]", "canny")], [part("controls", "canny")]):
        assert await in_form(served_api(), *words, PICTURES[0]) == (ref("canny", "control_image", PNG),)
    words = [part("controls", "canny"), part("controls", "depth"), *PICTURES]
    assert [one.type for one in await in_form(served_api(), *words)] == ["canny", "depth"]


async def test_unknown_keys_are_named_and_refused_where_the_server_is_strict() -> None:
    served = served_api()
    await in_json(served, controls=[{"type": "canny", "image": DATA_URL, "guess_mode": True}])
    assert served.seen[-1].ignored == ("controls[0].guess_mode",)
    body = {"prompt": "a cat", "controls": [{"type": "canny", "image": DATA_URL, "guess_mode": True}]}
    async with client(served_api(server={"strict": True})) as http:
        answer = await http.post(GENERATE, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "controls[0].guess_mode")


async def test_how_many_is_the_operators_word() -> None:
    controls = [{"type": "canny", "image": DATA_URL}] * 2
    async with client(served_api(limits={"max_controls": 1})) as http:
        answer = await http.post(GENERATE, json={"prompt": "a cat", "controls": controls})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "controls")
        document = (await http.get("/openapi.json")).json()
    entry = document["paths"]["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]
    assert '"maxItems": 1' in json.dumps(entry)
