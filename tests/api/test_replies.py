"""Tests api/replies/images.py: how pictures are handed out: as data, by address, or both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdxl_gateway.api.replies.events import completed_event
from sdxl_gateway.api.replies.images import Outcome, ReplyStyle, ignored_header, image_entry, reply, warning_header
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.errors import ModerationBlocked
from sdxl_gateway.core.picture import Size
from sdxl_gateway.gateway.events import Accepted, Done, Presented, Withheld
from tests.kit.api import GENERATE, USAGE, FakeGateway, client, served_api
from tests.kit.images import links, stored


def style(**fields: Any) -> ReplyStyle:
    return ReplyStyle.of(Ask(Operation.GENERATE, "a cat", **fields), links("http://here:8000"))


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
    entry = image_entry(Presented(0, b"png", stored(31), 7, {}), style(**fields))
    assert ("url" in entry, "b64_json" in entry) == (url, b64)
    assert not url or entry["url"].startswith(f"http://here:8000/files/{31:032x}.png?expires=")


def test_a_picture_without_a_name_has_no_address() -> None:
    assert image_entry(Presented(0, b"png", None, 7, {}), style()) == {"b64_json": "cG5n", "seed": 7, "recipe": {}}


@pytest.mark.parametrize(("painted", "told"), [("a cat, vivid", "a cat, vivid"), ("a cat", None)])
def test_a_prompt_that_was_painted_otherwise_is_told(painted: str, told: str | None) -> None:
    one = Presented(0, b"png", None, 7, {"prompt": painted})
    assert image_entry(one, style()).get("revised_prompt") == told
    outcome = Outcome(style(), Accepted("1", Size(64, 64), "high", "png"), (one,), Done(USAGE))
    event = json.loads(completed_event(Operation.GENERATE, outcome).decode().partition("data: ")[2])
    assert event.get("revised_prompt") == told


@pytest.mark.parametrize(
    ("fields", "alone"),
    [
        ({}, False),
        ({"response_format": "url"}, True),
        ({"response_format": "b64_json"}, False),
        ({"response_format": "url", "stream": True}, False),
        ({"stream": True}, False),
    ],
)
def test_only_an_address_asked_for_is_all_there_is(fields: dict[str, Any], alone: bool) -> None:
    assert style(**fields).by_address_alone is alone


@pytest.mark.parametrize(("said", "repeated"), [("u-1", "u-1"), ("", None), (None, None)])
def test_the_end_user_is_repeated(said: str | None, repeated: str | None) -> None:
    assert style(user=said).end_user == repeated


async def test_warnings_travel_in_a_header() -> None:
    async with client(served_api(FakeGateway(warnings=("The prompt was cut\r\nafter 77 tokens — sorry.",)))) as http:
        answer = await http.post(GENERATE, json={"prompt": "a"})
    assert answer.headers["x-sdxl-gateway-warning"] == "The prompt was cut  after 77 tokens ? sorry."


@pytest.mark.parametrize(
    ("ignored", "shown"),
    [((), None), (("foo", ""), "foo, ''"), (("",), "''"), ((" ",), "%20"), (("x" * 64,) * 40, None)],
)
def test_ignored_names_make_a_header_that_can_be_sent(ignored: tuple[str, ...], shown: str | None) -> None:
    """h11 refuses a value with a space at either end, and the connection would end without an answer."""
    value = ignored_header(ignored).get("x-sdxl-gateway-ignored")
    assert value is None or value == value.strip()
    assert shown is None or value == shown


@pytest.mark.parametrize("warnings", [(" cut: \n",), ("\t",), ("a" * 1999 + " b",)])
def test_warnings_make_a_header_that_can_be_sent(warnings: tuple[str, ...]) -> None:
    value = warning_header(Done(USAGE, warnings))["x-sdxl-gateway-warning"]
    assert value == value.strip()


def test_pictures_that_were_held_back_are_named_beside_the_others() -> None:
    error = ModerationBlocked("No.", stage="output", categories=("sexual",))
    held = (Withheld(2, 9, error), Withheld(0, 7, error))
    told = Outcome(
        style(n=3), Accepted("1", Size(64, 64), "high", "png"), (Presented(1, b"png", None, 8, {}),), Done(USAGE), held
    )
    body = json.loads(reply(told))
    assert [entry["seed"] for entry in body["data"]] == [8]
    assert [(one["index"], one["seed"]) for one in body["withheld"]] == [(0, 7), (2, 9)]
    assert body["withheld"][0]["error"] == {
        "message": "No.",
        "type": "image_generation_user_error",
        "param": None,
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": "output", "categories": ["sexual"]},
    }
