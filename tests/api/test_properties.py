"""Tests api/asks/ and api/http/json_body.py: whatever comes in becomes an Ask, or a refusal that names a field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_gateway.api.asks.forms import Part, read_form
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.loras import read_loras
from sdxl_gateway.api.asks.parse import read_ask
from sdxl_gateway.api.asks.sizes import read_size
from sdxl_gateway.api.http.json_body import parse_json
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import GatewayError

RULES = Rules(Limits())
T = TypeVar("T")


def tried(call: Callable[[], T]) -> tuple[T | None, GatewayError | None]:
    """The result or the refusal; any other exception is a failed test."""
    try:
        return call(), None
    except GatewayError as error:
        return None, error


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "model",
        "n",
        "size",
        "quality",
        "seed",
        "steps",
        "strength",
        "loras",
        "stream",
        "image",
        "mask",
        "extra_body",
        "user",
    ]
)


@given(st.sampled_from(list(Operation)), st.dictionaries(FIELDS | st.text(max_size=6), VALUES, max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_body_is_an_ask_or_a_refusal(operation: Operation, body: dict[str, Any]) -> None:
    ask, error = tried(lambda: read_ask(operation, {"prompt": "a", **body}, RULES).ask)
    if ask is None:
        assert error is not None
        assert error.message
        return
    assert 1 <= ask.n <= 10
    assert all(lora.weight is None or math.isfinite(lora.weight) for lora in ask.loras)
    assert not (ask.stream and ask.n > 1)


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    parsed, error = tried(lambda: parse_json(body))
    if error is not None:
        assert error.code == "invalid_json"
        return
    assert json.loads(json.dumps(parsed)) == parsed


MAX_PIXELS = 2048 * 2048


@given(st.integers(1, 600), st.integers(1, 600))
@settings(deadline=None)
def test_sizes_within_the_rules_come_back_as_they_were(columns: int, rows: int) -> None:
    width, height = columns * 8, rows * 8
    allowed = min(width, height) >= 64 and max(width, height) <= 4096 and max(width, height) <= 4 * min(width, height)
    size, error = tried(lambda: read_size(f" {width}X{height} ", MAX_PIXELS))
    assert allowed is (error is None)
    assert size == ((width, height) if allowed else None)
    assert error is None or error.param == "size"


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_size_text_is_read_or_refused(said: str) -> None:
    size, error = tried(lambda: read_size(said, MAX_PIXELS))
    assert error is None or error.param == "size"
    assert size is None or all(64 <= side <= 4096 for side in size)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["x", "X", "×", " * "]))
@settings(deadline=None)
def test_the_size_that_a_refusal_proposes_is_taken(width: int, height: int, times: str) -> None:
    _, error = tried(lambda: read_size(f"{width}{times}{height}", MAX_PIXELS))
    if error is not None:
        proposed = error.message.split("'")[-2]
        assert str(read_size(proposed, MAX_PIXELS)) == proposed


NAMES = st.text(st.characters(whitelist_categories=("Ll", "Lu", "Nd")), min_size=1, max_size=12)


@given(st.lists(st.tuples(NAMES, st.integers(-400, 400)), max_size=5))
@settings(deadline=None)
def test_every_spelling_of_loras_says_the_same(said: list[tuple[str, int]]) -> None:
    pairs = [(name, hundredths / 100) for name, hundredths in said]
    objects = [{"name": name, "weight": weight} for name, weight in pairs]
    words = [f"{name}:{weight}" for name, weight in pairs]
    ignored: list[str] = []
    spellings: list[Any] = [objects, json.dumps(objects), words, "+".join(words)]
    read = [read_loras(spelling, "loras", ignored) for spelling in spellings]
    assert all(one == read[0] for one in read)
    assert [(lora.name, lora.weight) for lora in read[0]] == pairs
    assert ignored == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["loras", "loras[]", "loras[][name]", "loras[0][name]", "n", "extra_body", "image"]),
            st.binary(max_size=12),
        ),
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_any_form_is_read_or_refused(said: list[tuple[str, bytes]]) -> None:
    found, error = tried(lambda: read_form([Part(name, data) for name, data in said], RULES.table))
    assert (found is None) is (error is not None)
    assert found is None or "" not in found.texts.values()
