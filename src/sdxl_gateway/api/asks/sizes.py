"""Takes a size as written, gives `WxH` or None for "auto"; refuses sides, shapes and spellings that no model paints."""

from __future__ import annotations

import re

from sdxl_gateway.admission.sizes import MAX_ASPECT, SHORTEST_SIDE, UNIT
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

MAX_SIDE = 4096
_SIZE = re.compile(r"([0-9]{1,5})\s*[xX×*]\s*([0-9]{1,5})")


def read_size(said: str) -> str | None:
    """`1024x1536`, or None for `auto`. Raises InvalidRequest naming `size`."""
    word = said.strip()
    if word.lower() == "auto":
        return None
    match = _SIZE.fullmatch(word)
    if not match:
        raise _refused(said, "A size is 'auto' or 'WIDTHxHEIGHT', such as '1024x1024'.")
    return checked_size(int(match[1]), int(match[2]))


def checked_size(width: int, height: int) -> str:
    """The size as `WxH`. Raises InvalidRequest naming `size`."""
    said = f"{width}x{height}"
    if not (SHORTEST_SIDE <= width <= MAX_SIDE and SHORTEST_SIDE <= height <= MAX_SIDE):
        raise _refused(said, f"Each side lies between {SHORTEST_SIDE} and {MAX_SIDE}.")
    if width % UNIT or height % UNIT:
        raise _refused(said, f"Each side must be divisible by {UNIT}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise _refused(said, f"One side is at most {MAX_ASPECT} times the other.")
    return said


def _refused(said: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid size {shown(said)}. {reason}", param="size")
