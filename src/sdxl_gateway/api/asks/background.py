"""Takes what a caller says is to be behind the subject, gives it checked against the output format."""

from __future__ import annotations

from sdxl_gateway.api.asks.fields import BACKGROUNDS
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import Background

NO_JPEG = "JPEG holds no transparency. With a transparent background 'output_format' is 'png' or 'webp'."


def read_background(word: str, param: str, output_format: str) -> Background | None:
    """None for "auto". Raises InvalidRequest, naming `param`, for what the format cannot hold (as OpenAI does)."""
    background = BACKGROUNDS[word]
    if background == "transparent" and output_format == "jpeg":
        raise InvalidRequest(NO_JPEG, param=param)
    return background
