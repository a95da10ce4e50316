"""Tests api/replies/images.py: how pictures are handed out: as data, by address, or both."""

from __future__ import annotations

from typing import Any

import pytest

from sdxl_gateway.api.replies.images import ReplyStyle, image_entry
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.gateway.events import Presented
from tests.kit.api import GENERATE, FakeGateway, client, served_api

FILES_URL = "http://here:8000/files"


def style(**fields: Any) -> ReplyStyle:
    return ReplyStyle.of(Ask(Operation.GENERATE, "a cat", **fields), FILES_URL)


@pytest.mark.parametrize(
    ("fields", "url", "b64"),
    [
        ({}, True, True),
        ({"model": "demo"}, True, True),
        ({"model": "dall-e-3"}, True, True),
        ({"model": "gpt-image-1"}, False, True),
        ({"model": "ChatGPT-Image-latest"}, False, True),
        ({"model": "gpt-image-1", "response_format": "url"}, True, False),
        ({"response_format": "url"}, True, False),
        ({"response_format": "b64_json"}, False, True),
        ({"stream": True}, False, True),
    ],
)
def test_address_or_bytes(fields: dict[str, Any], url: bool, b64: bool) -> None:
    entry = image_entry(Presented(0, b"png", "1f.png", 7, {}), style(**fields))
    assert ("url" in entry, "b64_json" in entry) == (url, b64)
    assert not url or entry["url"] == "http://here:8000/files/1f.png"


@pytest.mark.parametrize(("said", "repeated"), [("u-1", "u-1"), ("", None), (None, None)])
def test_the_end_user_is_repeated(said: str | None, repeated: str | None) -> None:
    assert style(user=said).end_user == repeated


async def test_warnings_travel_in_a_header() -> None:
    async with client(served_api(FakeGateway(warnings=("The prompt was cut\r\nafter 77 tokens — sorry.",)))) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    assert answer.headers["x-sdxl-gateway-warning"] == "The prompt was cut  after 77 tokens ? sorry."
    assert int(answer.headers["openai-processing-ms"]) >= 0
