"""Takes what was asked and what a checkpoint is trained for, gives the size to paint and the size to hand out."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.errors import InvalidRequest

UNIT = 8
SHORTEST_SIDE = 64


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


def within(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """The size itself, or the largest of its aspect that `max_pixels` allows."""
    if width * height <= max_pixels:
        return width, height
    scale = sqrt(max_pixels / (width * height))
    return max(int(width * scale), 1), max(int(height * scale), 1)


def native_size(checkpoint: CheckpointEntry) -> tuple[int, int]:
    """The square a checkpoint was trained on."""
    side = int(sqrt(checkpoint.native_area)) // UNIT * UNIT
    return side, side


def paint_size(width: int, height: int, checkpoint: CheckpointEntry) -> Sizes:
    """Painted as asked up to the checkpoint's pixel budget, above it at its training area in the asked aspect."""
    scale = 1.0
    if width * height > checkpoint.native_pixels:
        scale = sqrt(checkpoint.native_area / (width * height))
    return Sizes(width, height, _side(width * scale), _side(height * scale))


def _side(pixels: float) -> int:
    return max(round(pixels / UNIT) * UNIT, SHORTEST_SIDE)
