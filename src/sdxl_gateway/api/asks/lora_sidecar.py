"""Reads the JSON that changes a LoRA's side-car."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.sidecar import (
    Word,
    decimal,
    line,
    one_of,
    read_line,
    read_words,
    sidecar_schema,
    whole_number,
    yes_or_no,
)
from sdxl_gateway.api.asks.values import wrong_type
from sdxl_gateway.catalog.lora_folder.sidecar import MAX_TEXT_CHARS, MAX_WORD_CHARS, MAX_WORDS
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import CLIP_SKIP, GUIDANCE_SCALE, LORA_WEIGHT, STEPS
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES

_DESCRIPTION = Field("description", Kind.TEXT, "What it does, in a line.", max_chars=MAX_TEXT_CHARS)
_WORD = Field("trigger_words", Kind.TEXT, "Its trigger words.", max_chars=MAX_WORD_CHARS)
_ADD = Field("add_trigger_words", Kind.FLAG, "Whether to put its trigger words before prompts that lack them.")
_SAMPLER = Field("sampler", Kind.CHOICE, "The sampler it was made for.", choices=tuple(SAMPLERS))
_SCHEDULE = Field("schedule", Kind.CHOICE, "The schedule of its steps.", choices=tuple(SCHEDULES))
_WHOLE = (
    Field("steps", Kind.INTEGER, "Denoising steps it was made for.", low=1, high=STEPS),
    Field("clip_skip", Kind.INTEGER, "The text encoders' layer it was made for, from the end.", low=1, high=CLIP_SKIP),
)
_NUMBERS = (
    Field("weight", Kind.NUMBER, "Its weight when a request gives none.", low=-LORA_WEIGHT, high=LORA_WEIGHT),
    Field("text_encoder_weight", Kind.NUMBER, "Its weight in the text encoders.", low=-LORA_WEIGHT, high=LORA_WEIGHT),
    Field("guidance_scale", Kind.NUMBER, "The guidance it was made for.", low=0, high=GUIDANCE_SCALE),
    Field("eta", Kind.NUMBER, "The share of fresh noise in each step.", low=0, high=1),
)


def _words_schema() -> dict[str, Any]:
    return {
        "type": ["array", "null"],
        "maxItems": MAX_WORDS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_WORD_CHARS},
        "description": _WORD.about,
    }


def _words(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise wrong_type("trigger_words", "an array", value)
    if len(value) > MAX_WORDS:
        raise InvalidRequest(f"Invalid 'trigger_words': at most {MAX_WORDS} are kept.", param="trigger_words")
    return [read_line(_WORD, word, f"trigger_words[{place}]") for place, word in enumerate(value)]


_SAYS: Mapping[str, Word] = {
    "description": line(_DESCRIPTION),
    "trigger_words": Word(_words_schema(), _words),
    "add_trigger_words": yes_or_no(_ADD),
    **{field.name: decimal(field) for field in _NUMBERS},
    **{field.name: whole_number(field) for field in _WHOLE},
    **{field.name: one_of(field) for field in (_SAMPLER, _SCHEDULE)},
}
SIDECAR_SCHEMA = sidecar_schema(_SAYS)


def read_sidecar(given: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, by the side-car's keys. Raises InvalidRequest naming the field."""
    return read_words(_SAYS, given)
