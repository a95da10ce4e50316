"""Takes a size as written, gives it as numbers, or None for "auto"; refuses sides and shapes that no model paints."""

from __future__ import annotations

import re

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import ASPECT, LONGEST_SIDE, SHORTEST_SIDE, SIDE_UNIT
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.text import shown

_SIZE = re.compile(r"([0-9]{1,5})\s*[xX×*]\s*([0-9]{1,5})")


def read_size(text: str) -> Size | None:
    """`1024x1536` as a Size in pixels, or None for `auto`. Raises InvalidRequest naming `size`."""
    word = text.strip()
    if word.lower() == "auto":
        return None
    match = _SIZE.fullmatch(word)
    if not match:
        raise _refused(text, "A size is 'auto' or 'WIDTHxHEIGHT', such as '1024x1024'.")
    return checked_size(Size(int(match[1]), int(match[2])))


def checked_size(size: Size) -> Size:
    """`size` itself. Raises InvalidRequest naming `size`."""
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in size):
        raise _refused(str(size), f"Each side lies between {SHORTEST_SIDE} and {LONGEST_SIDE}.")
    if any(side % SIDE_UNIT for side in size):
        raise _refused(str(size), f"Each side must be divisible by {SIDE_UNIT}.")
    if max(size) > ASPECT * min(size):
        raise _refused(str(size), f"One side is at most {ASPECT} times the other.")
    return size


def _refused(text: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid size {shown(text)}. {reason}", param="size")
