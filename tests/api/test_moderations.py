"""What is judged on request is judged as paintings are, and answered in OpenAI's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest

from sdxl_gateway.admission.uploads import Uploads
from sdxl_gateway.config import Limits, Safety
from sdxl_gateway.gateway.moderations import Moderations
from tests.kit.api import ServedApi, client, served_api
from tests.kit.decoders import decoders
from tests.kit.judges import FakeNet, broken, judges, scores
from tests.kit.pictures import DATA_URL

PATH = "/v1/moderations"
DENYING = Safety(deny_words=("nude",))
TEXT = {"type": "text", "text": "a cat"}
IMAGE = {"type": "image_url", "image_url": {"url": DATA_URL}}


@contextmanager
def served(section: Safety = DENYING, net: FakeNet | None = None) -> Iterator[ServedApi]:
    limits = Limits()
    yield served_api(moderations=Moderations(judges(section, net), Uploads(limits, decoders())))


async def asked(body: Any, section: Safety = DENYING, net: FakeNet | None = None) -> tuple[int, dict[str, Any]]:
    with served(section, net) as api:
        async with client(api) as http:
            answer = await http.post(PATH, json=body)
    return answer.status_code, answer.json()


async def test_the_official_client_reads_texts_and_pictures() -> None:
    net = FakeNet(scores(0.9))
    with served(DENYING, net) as api:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=api.app))
        sdk = openai.AsyncOpenAI(
            base_url="http://gw/v1", api_key="x", http_client=http, _strict_response_validation=True
        )
        async with sdk:
            texts = await sdk.moderations.create(input=["a N.U.D.E", "a cat"], model="omni-moderation-latest")
            parts: Any = [TEXT, IMAGE]
            both = await sdk.moderations.create(input=parts)
    assert [one.flagged for one in texts.results] == [True, False]
    assert (texts.model, texts.id.startswith("modr-")) == ("omni-moderation-latest", True)
    assert not texts.results[0].categories.sexual
    assert (texts.results[0].categories.model_extra or {})["deny_list"] is True
    (one,) = both.results
    assert (one.flagged, one.categories.sexual, one.category_scores.sexual) == (True, True, 0.9)
    assert (one.category_applied_input_types.sexual, one.category_applied_input_types.hate) == (["image"], [])


async def test_all_of_openais_categories_are_told() -> None:
    _, told = await asked({"input": "a cat"})
    (result,) = told["results"]
    assert len(result["categories"]) == 13 + 1
    assert result["categories"].keys() == result["category_scores"].keys()
    assert result["categories"].keys() == result["category_applied_input_types"].keys()
    assert result["category_applied_input_types"]["deny_list"] == ["text"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": 1}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 33}, "input"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": [TEXT, "a"]}, "input[1]"),
        ({"input": [{"type": "video"}]}, "input[0].type"),
        ({"input": [{"type": "text"}]}, "input[0].text"),
        ({"input": [TEXT | {"image_url": {}}]}, "input[0].image_url"),
        ({"input": [IMAGE | {"text": "a"}]}, "input[0]"),
        ({"input": [{"type": "image_url"}]}, "input[0].image_url"),
        ({"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}, "input[0].image_url"),
        ({"input": [{"type": "image_url", "image_url": {"url": "https://there/a.png"}}]}, "input[0].image_url"),
        ({"input": "a" * 32_001}, "input"),
        ({"input": "a\0"}, "input"),
        ({"input": "a", "model": 1}, "model"),
        ({"input": "a", "modle": "x"}, "modle"),
        ({"input": [IMAGE] * 17}, "input"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_what_cannot_be_read_names_its_place(body: Any, param: str) -> None:
    status, told = await asked(body, net=FakeNet())
    assert (status, told["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("section", "net", "body", "status"),
    [
        (Safety(), None, {"input": "a"}, 404),
        (Safety(), FakeNet(), {"input": "a"}, 400),
        (DENYING, None, {"input": [IMAGE]}, 400),
    ],
)
async def test_nothing_is_called_clean_that_nobody_looked_at(
    section: Safety, net: FakeNet | None, body: Any, status: int
) -> None:
    answered, told = await asked(body, section, net)
    assert (answered, told["error"]["code"]) == (status, "no_judge")


async def test_nor_where_the_judge_failed() -> None:
    status, told = await asked({"input": [IMAGE]}, Safety(), FakeNet(broken))
    assert (status, told["error"]["code"]) == (503, "moderation_unavailable")
