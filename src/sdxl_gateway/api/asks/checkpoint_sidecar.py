"""Reads the JSON that changes a checkpoint's side-car."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.sidecar import (
    Word,
    decimal,
    line,
    one_of,
    read_words,
    sidecar_schema,
    whole_number,
    yes_or_no,
)
from sdxl_gateway.catalog.lora_folder.sidecar import MAX_TEXT_CHARS
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import CLIP_SKIP, GUIDANCE_SCALE, STEPS
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES

MOST_PIXELS = 8192 * 8192
BY_HAND = ("vae", "refiner", "config")
"""Keys that name other models or files to load: only whoever has access to the server's disk may set them."""

_DESCRIPTION = Field("description", Kind.TEXT, "What it paints, in a line.", max_chars=MAX_TEXT_CHARS)
_ZERO_SNR = Field("zero_snr", Kind.FLAG, "Whether its noise schedule ends in pure noise (zero terminal SNR).")
_NUMBERS = (
    Field("guidance_scale", Kind.NUMBER, "The guidance it was made for.", low=0, high=GUIDANCE_SCALE),
    Field("guidance_end", Kind.NUMBER, "The share of the steps that guidance takes part in.", low=0, high=1),
)
_WHOLE = (
    Field("steps", Kind.INTEGER, "Denoising steps at medium quality.", low=1, high=STEPS),
    Field("clip_skip", Kind.INTEGER, "The text encoders' layer it was made for, from the end.", low=1, high=CLIP_SKIP),
    Field("native_pixels", Kind.INTEGER, "The largest area it paints directly.", low=64 * 64, high=MOST_PIXELS),
)
_CHOICES = (
    Field("sampler", Kind.CHOICE, "The sampler it was made for.", choices=tuple(SAMPLERS)),
    Field("schedule", Kind.CHOICE, "The schedule of its steps.", choices=tuple(SCHEDULES)),
    Field("prompt_syntax", Kind.CHOICE, "How prompts to it are read.", choices=("plain", "a1111")),
    Field("prediction_type", Kind.CHOICE, "What its UNet predicts.", choices=("epsilon", "v_prediction")),
)
_SAYS: Mapping[str, Word] = {
    "description": line(_DESCRIPTION),
    **{field.name: whole_number(field) for field in _WHOLE},
    **{field.name: decimal(field) for field in _NUMBERS},
    **{field.name: one_of(field) for field in _CHOICES},
    "zero_snr": yes_or_no(_ZERO_SNR),
}
SIDECAR_SCHEMA = sidecar_schema(_SAYS)


def read_sidecar(given: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, by the side-car's keys. Raises InvalidRequest naming the field."""
    for name in BY_HAND:
        if name in given:
            message = f"'{name}' names other files: write it into the side-car by hand, on the server's disk."
            raise InvalidRequest(message, param=name)
    return read_words(_SAYS, given)
