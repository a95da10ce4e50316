"""Takes what was asked and what a checkpoint is trained for, gives the size to paint and the size to hand out."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest

UNIT = 8
SHORTEST_SIDE = 64
MAX_ASPECT = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """Pixels: `width` x `height` leave the house, `paint_width` x `paint_height` (multiples of 8) are painted."""

    width: int
    height: int
    paint_width: int
    paint_height: int


def asked_size(text: str, max_pixels: int) -> tuple[int, int]:
    """`WxH` as numbers. Raises InvalidRequest above `max_pixels`; the form itself was checked when it was read."""
    width, height = (int(side) for side in text.split("x"))
    if width * height > max_pixels:
        raise InvalidRequest(
            f"Invalid size '{text}': {width * height} pixels are above this server's limit of {max_pixels}.",
            param="size",
        )
    return width, height


def own_size(width: int, height: int, max_pixels: int, *, field: str) -> tuple[int, int]:
    """The size of an upload, or the largest of its aspect that `max_pixels` allows.

    Raises InvalidImage naming `field` for a shape that no model paints.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidImage(
            f"Invalid image for '{field}': one side is more than {MAX_ASPECT} times the other; 'size' can cut it.",
            param=field,
        )
    if width * height <= max_pixels:
        return width, height
    scale = sqrt(max_pixels / (width * height))
    return int(width * scale), int(height * scale)


def native_size(checkpoint: CheckpointEntry, max_pixels: int) -> tuple[int, int]:
    """The square a checkpoint was trained on, or the largest that `max_pixels` allows."""
    side = int(sqrt(min(checkpoint.native_area, max_pixels))) // UNIT * UNIT
    return side, side


def paint_size(width: int, height: int, checkpoint: CheckpointEntry) -> Sizes:
    """Painted as asked up to the checkpoint's pixel budget, above it at its training area in the asked aspect.

    Tiny pictures are painted larger, so that no side falls below 64.
    """
    above = width * height > checkpoint.native_pixels
    scale = sqrt(checkpoint.native_area / (width * height)) if above else 1.0
    scale = max(scale, SHORTEST_SIDE / min(width, height))
    return Sizes(width, height, *_in_units(width * scale, height * scale, checkpoint.native_pixels))


def _in_units(width: float, height: float, budget: int) -> tuple[int, int]:
    """The nearest multiples of 8, or the ones below where the nearest would exceed the budget."""
    near = round(width / UNIT) * UNIT, round(height / UNIT) * UNIT
    if near[0] * near[1] <= budget:
        return near
    return max(int(width) // UNIT * UNIT, SHORTEST_SIDE), max(int(height) // UNIT * UNIT, SHORTEST_SIDE)
