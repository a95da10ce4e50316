"""Tests api/asks/references.py: pictures to be guided by in every shape clients may send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk, read_ask
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation, Reference
from sdxl_gateway.core.errors import InvalidRequest
from tests.kit.api import client, served_api
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import DATA_URL, JPEG, PNG

RULES = Rules(Limits())
BASE64 = base64.b64encode(JPEG).decode()


def read(operation: Operation = Operation.GENERATE, **fields: Any) -> ReadAsk:
    said = {"prompt": "a cat", **fields} if operation is not Operation.VARY else fields
    return read_ask(operation, said, RULES)


def told(references: tuple[Reference, ...]) -> list[tuple[str, bytes, float | None]]:
    return [(one.upload.field, one.upload.data, one.weight) for one in references]


@pytest.mark.parametrize("as_text", [False, True])
def test_objects_with_weights_and_bare_strings(as_text: bool) -> None:
    given = [{"image": DATA_URL, "weight": 0.5}, BASE64, {"image": {"image_url": DATA_URL}, "weight": None}]
    found = read(references=json.dumps(given) if as_text else given)
    assert told(found.ask.references) == [
        ("references[0].image", PNG, 0.5),
        ("references[1]", JPEG, None),
        ("references[2].image.image_url", PNG, None),
    ]
    assert (found.ignored, len(found.ask.uploads)) == ((), 3)


@pytest.mark.parametrize("given", [DATA_URL, {"image": DATA_URL}, {"image_url": DATA_URL}, {"b64_json": DATA_URL}])
def test_one_alone(given: Any) -> None:
    ((_, data, weight),) = told(read(references=given).ask.references)
    assert (data, weight) == (PNG, None)


def test_unknown_keys_are_named_or_refused() -> None:
    given = [{"image": DATA_URL, "weight": "0.5", "start": 0.2}]
    assert read(references=given).ignored == ("references[0].start",)
    with pytest.raises(InvalidRequest) as refused:
        read_ask(Operation.GENERATE, {"prompt": "a", "references": given}, Rules(Limits(), strict=True))
    assert refused.value.param == "references[0].start"


@pytest.mark.parametrize("operation", list(Operation))
def test_on_every_route(operation: Operation) -> None:
    image = {} if operation is Operation.GENERATE else {"image": DATA_URL}
    found = read(operation, references=[DATA_URL], reference_image=[BASE64], input_fidelity=0.4, **image)
    assert [field for field, _, _ in told(found.ask.references)] == ["references[0]", "reference_image[0]"]
    assert (found.ask.input_fidelity, found.ignored) == (0.4, ())


async def test_entries_without_a_picture_take_those_beside_them_in_order() -> None:
    served = served_api()
    parts = [
        part("prompt", "a cat"),
        part("references", json.dumps([{"weight": 0.9}, {"image": DATA_URL}, {"weight": 0.2}])),
        *(file("reference_image[]", data) for data in (JPEG, PNG, JPEG)),
    ]
    async with client(served) as http:
        assert (await http.post("/v1/images/generations", content=form(*parts), headers=FORM)).status_code == 200
    (ask,) = served.gateway.asks
    assert told(ask.references) == [
        ("reference_image[0]", JPEG, 0.9),
        ("references[1].image", PNG, None),
        ("reference_image[1]", PNG, 0.2),
        ("reference_image[2]", JPEG, None),
    ]
    with pytest.raises(InvalidRequest) as refused:
        read(references=[{"weight": 1}, {"weight": 0.5}], reference_image=[BASE64])
    assert refused.value.param == "references[1].image"


async def test_in_a_form() -> None:
    served = served_api()
    parts = [
        part("prompt", "a cat"),
        part("references", json.dumps([{"image": DATA_URL, "weight": 2}])),
        file("reference_image[]", JPEG),
        file("reference_image[]", PNG),
        part("input_fidelity", "HIGH"),
    ]
    async with client(served) as http:
        assert (await http.post("/v1/images/generations", content=form(*parts), headers=FORM)).status_code == 200
    (ask,) = served.gateway.asks
    assert told(ask.references) == [
        ("references[0].image", PNG, 2.0),
        ("reference_image[0]", JPEG, None),
        ("reference_image[1]", PNG, None),
    ]
    assert ask.input_fidelity == "high"


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({}, True),
        ({"markup": DATA_URL}, False),
        ({"image": [DATA_URL, DATA_URL]}, False),
        ({"references": [DATA_URL]}, False),
    ],
)
def test_input_fidelity_weighs_nothing_where_one_picture_is_edited(fields: dict[str, Any], ignored: bool) -> None:
    found = read(Operation.EDIT, **{"image": DATA_URL, "input_fidelity": "high", **fields})
    assert found.ignored == (("input_fidelity",) if ignored else ())


def test_markup_is_a_picture_of_an_edit() -> None:
    found = read(Operation.EDIT, image=DATA_URL, mask=DATA_URL, markup={"image_url": DATA_URL})
    assert found.ask.markup is not None
    assert (found.ask.markup.data, len(found.ask.uploads)) == (PNG, 3)
