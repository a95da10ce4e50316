"""Parses sizes, and refuses sides and aspect ratios that no model paints."""

from __future__ import annotations

import re

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.limits import ASPECT, LONGEST_SIDE, SHORTEST_SIDE, SIDE_UNIT
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.sizes import nearest_size
from sdxl_gateway.core.text import shown

_TIMES = re.compile(r"[xX×*]")
_SIDE = re.compile(r"[0-9]{1,32}")
_SIDES = ("width", "height")


def read_size(text: str, max_pixels: int) -> Size | None:
    """`1024x1536` as a Size in pixels, or None for `auto`. Raises InvalidRequest naming `size`."""
    word = text.strip()
    if word.lower() == "auto":
        return None
    sides = [side.strip() for side in _TIMES.split(word)]
    if len(sides) != len(_SIDES) or not all(map(_SIDE.fullmatch, sides)):
        raise _refused(text, f"{_misspelled(sides)}. Write 'auto', or width and height such as '1024x1024'.")
    return checked_size(Size(int(sides[0]), int(sides[1])), max_pixels)


def checked_size(size: Size, max_pixels: int) -> Size:
    """`size` itself. Raises InvalidRequest naming `size`, and proposes a valid one; the area is checked later."""
    if wrong := _wrong(size):
        raise _refused(str(size), f"{wrong}. '{nearest_size(size, max_pixels)}' would do.")
    return size


def _misspelled(sides: list[str]) -> str:
    if len(sides) == 1 and _SIDE.fullmatch(sides[0]):
        return "it says one side, not two"
    if len(sides) != len(_SIDES):
        return "it is not two sides with an 'x' between"
    name, side = next((name, side) for name, side in zip(_SIDES, sides, strict=True) if not _SIDE.fullmatch(side))
    return f"the {name} {shown(side)} is no whole number of pixels" if side else f"the {name} is missing"


def _wrong(size: Size) -> str:
    """What is invalid in the size; "" for nothing."""
    named = list(zip(_SIDES, size, strict=True))
    wrong = [f"the {name} is above {LONGEST_SIDE}" for name, side in named if side > LONGEST_SIDE]
    wrong += [f"the {name} is below {SHORTEST_SIDE}" for name, side in named if side < SHORTEST_SIDE]
    if not wrong:
        wrong = [f"the {name} is not divisible by {SIDE_UNIT}" for name, side in named if side % SIDE_UNIT]
    if not wrong and max(size) > ASPECT * min(size):
        wrong = [f"one side is more than {ASPECT} times the other"]
    return " and ".join(wrong)


def _refused(text: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid size {shown(text)}: {reason}", param="size")
