"""The grammar of model names and prompt tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.admission.prompts.lora_tags import cut_prompt_tags
from sdxl_gateway.catalog.model_grammar import (
    MAX_NAME_CHARS,
    checked_weight,
    not_found,
    split_model,
    split_part,
)
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

T = TypeVar("T")
words = st.text(st.characters(whitelist_categories=("L", "N"), whitelist_characters="-_./ "), min_size=1).filter(
    lambda text: text.strip() == text
)
weights = st.integers(-400, 400).map(lambda n: n / 100)


def read_or_refused(read: Callable[[str], T], text: str) -> tuple[T | None, InvalidRequest | None]:
    try:
        return read(text), None
    except InvalidRequest as refused:
        return None, refused


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ink", LoraRef("ink")),
        (" ink : 0.5 ", LoraRef("ink", 0.5)),
        ("ink:.5", LoraRef("ink", 0.5)),
        ("ink:\x1e.5\x1f", LoraRef("ink", 0.5)),
        ("ink:-4", LoraRef("ink", -4.0)),
        ("ink:+1.", LoraRef("ink", 1.0)),
        ("styles/ink:1", LoraRef("styles/ink", 1.0)),
        ("a:b:0.5", LoraRef("a:b", 0.5)),
        ("ink:strong", LoraRef("ink:strong")),
        ("ink:1e2", LoraRef("ink:1e2")),
        ("ink:nan", LoraRef("ink:nan")),
        (":0.5", LoraRef(":0.5")),
    ],
)
def test_a_part(text: str, part: LoraRef) -> None:
    assert split_part(text, param="model") == part


def test_a_model_name_falls_into_parts() -> None:
    assert split_model("sdxl+ watercolor:0.8 +ink") == (LoraRef("sdxl"), LoraRef("watercolor", 0.8), LoraRef("ink"))


@given(st.lists(st.tuples(words, weights), min_size=1, max_size=5))
def test_what_is_joined_falls_apart_again(parts: list[tuple[str, float]]) -> None:
    name = "+".join(f"{word}:{weight:g}" for word, weight in parts)
    if len(name) <= MAX_NAME_CHARS:
        assert split_model(name) == tuple(LoraRef(word, weight) for word, weight in parts)


@given(st.text(max_size=600))
def test_any_text_is_read_or_refused(text: str) -> None:
    parts, refused = read_or_refused(split_model, text)
    assert parts is not None or (refused is not None and refused.param == "model" and len(refused.message) < 250)
    assert all(part.name and -4 <= (part.weight or 0) <= 4 for part in parts or ())


@pytest.mark.parametrize("weight", [4.0001, -5.0, float("inf"), float("-inf"), float("nan")])
def test_weights_beyond_the_limit(weight: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked_weight(weight, param="loras[2]")
    assert refused.value.param == "loras[2]"


@pytest.mark.parametrize(
    ("prompt", "left", "parts"),
    [
        ("a cat", "a cat", ()),
        ("a  cat", "a  cat", ()),
        ("a <lora:ink> cat", "a cat", (LoraRef("ink"),)),
        ("a cat, <lora:ink:0.8>", "a cat", (LoraRef("ink", 0.8),)),
        ("<lora: styles/ink : 0.8 >x", "x", (LoraRef("styles/ink", 0.8),)),
        ("x<lora:ink:0.3:0.6>", "x", (LoraRef("ink", 0.6, 0.3),)),
        ("x<lora:ink:0.3:0.3>", "x", (LoraRef("ink", 0.3),)),
        ("x<lora:ink:te=0.3>", "x", (LoraRef("ink", 0.3),)),
        ("x<lora:ink:unet=0.6>", "x", (LoraRef("ink", 0.6, 1.0),)),
        ("x<lora:ink:0.5:unet=0.6>", "x", (LoraRef("ink", 0.6, 0.5),)),
        ("x<lora:ink:>", "x", (LoraRef("ink"),)),
        (
            "x<lora:ink:1:lbw=1,0,0,0,0,0,0,0,0,0,0,.5>",
            "x",
            (LoraRef("ink", 1.0, blocks=(1.0, *[0.0] * 15, 0.5, *[0.0] * 3)),),
        ),
        (
            "x<lora:ink:LBW = 1, 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,-1 :unet=2>",
            "x",
            (LoraRef("ink", 2.0, 1.0, blocks=(*[1.0] * 19, -1.0)),),
        ),
        ("x<LyCO:ink:1>", "x", (LoraRef("ink", 1.0),)),
        ("x <lora:> <lora> <loral:ink:1>", "x <lora:> <lora> <loral:ink:1>", ()),
        ("<lora:a:1><lora:b:-1>", "", (LoraRef("a", 1.0), LoraRef("b", -1.0))),
    ],
)
def test_tags(prompt: str, left: str, parts: tuple[LoraRef, ...]) -> None:
    assert cut_prompt_tags(prompt) == (left, parts)


@pytest.mark.parametrize("tag", ["<lora:ink:much>", "<lora:ink:te=>", "<lora:ink:1e3>", "<lora:ink:unet=9>"])
def test_tags_with_weights_that_are_none(tag: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        cut_prompt_tags(f"a cat {tag}")
    assert refused.value.param == "prompt"


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("<lora:ink:1:dyn=64>", "'dyn' is not read here"),
        ("<lora:ink:1:lbw=1,0,0,0>", "Block weights are 12 or 20 numbers, as for SDXL in other tools; 4 were given"),
        ("<lora:ink:1:lbw=OUTALL>", "the weight 'OUTALL' is not a number"),
        ("<lora:ink:1:lbw=>", "the weight '' is not a number"),
        ("<lora:ink:1:lbw=9,0,0,0,0,0,0,0,0,0,0,0>", "9 does not"),
        ("<lora:ink:0.5: step = 0-10>", "'step' is not read here"),
        ("<lora:ink:0.5:0.6:64>", "after two weights nothing more is read"),
        ("<lora:ink:0.5:OUTALL>", "the weight 'OUTALL' is not a number"),
    ],
)
def test_a_tag_that_says_more_than_is_read_is_refused(tag: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as refused:
        cut_prompt_tags(f"a cat {tag}")
    assert refused.value.param == "prompt"


@given(st.text(alphabet="<lora:ink0.5 =te>", max_size=200))
def test_any_prompt_is_read_or_refused(prompt: str) -> None:
    found, refused = read_or_refused(cut_prompt_tags, prompt)
    assert found is not None or (refused is not None and refused.param == "prompt")
    assert found is None or found[0] == prompt or found[1]


def test_unknown_names_come_with_the_nearest() -> None:
    error = not_found("watercolour", ["ink", "watercolor"])
    assert error.message == "The model 'watercolour' does not exist. Did you mean 'watercolor'?"
    assert not_found("zzz", ["ink"]).message == "The model 'zzz' does not exist."


def test_whole_libraries_are_not_compared() -> None:
    known = (f"lora-{n}" for n in range(10**9))
    assert not_found("lora-7", known).message.endswith("Did you mean 'lora-7'?")


def test_a_model_in_a_loras_name_stays() -> None:
    error = not_found("The model x", [], kind="LoRA")
    assert error.message == "The LoRA 'The model x' does not exist."


@given(st.text(st.characters(), max_size=300))
def test_shown_text_is_short_and_harmless(text: str) -> None:
    said = shown(text)
    assert len(said) <= 100
    assert said.isprintable()
    said.encode("utf-8")


def test_half_a_character_is_shown_escaped() -> None:
    assert shown("\ud800") == r"'\\ud800'"
