"""Reads `background`, and checks it against the output format."""

from __future__ import annotations

from sdxl_gateway.api.asks.fields import BACKGROUNDS
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import Background

NO_JPEG = "JPEG holds no transparency. With a transparent background 'output_format' is 'png' or 'webp'."


def read_background(word: str, param: str, output_format: str) -> Background | None:
    """The background, None for "auto". Raises InvalidRequest naming `param` if the format has no transparency."""
    background = BACKGROUNDS[word]
    if background == "transparent" and output_format == "jpeg":
        raise InvalidRequest(NO_JPEG, param=param)
    return background
