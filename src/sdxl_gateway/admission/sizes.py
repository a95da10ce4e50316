"""Chooses the size to paint and the size to return, from the requested size and the checkpoint's training size."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest
from sdxl_gateway.core.limits import ASPECT, SHORTEST_SIDE, SIDE_UNIT
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.sizes import nearest_size


@dataclass(frozen=True, slots=True)
class Sizes:
    """Pixels: `width` x `height` are returned, `paint_width` x `paint_height` (multiples of 8) are painted."""

    width: int
    height: int
    paint_width: int
    paint_height: int

    @property
    def painted(self) -> Size:
        """The size that the model paints."""
        return Size(self.paint_width, self.paint_height)

    def painted_at(self, size: Size) -> Sizes:
        """The same size to return, painted at another size."""
        return Sizes(self.width, self.height, *size)


def check_area(size: Size, max_pixels: int) -> Size:
    """`size` itself. Raises InvalidRequest above `max_pixels`; its sides were checked when it was parsed."""
    area = size.width * size.height
    if area > max_pixels:
        raise InvalidRequest(
            f"Invalid size '{size}': {area} pixels are above this server's limit of {max_pixels}. "
            f"'{nearest_size(size, max_pixels)}' would do.",
            param="size",
        )
    return size


def own_size(size: Size, max_pixels: int, *, field: str) -> Size:
    """The size of an upload, or the largest of its aspect ratio that `max_pixels` allows.

    Raises InvalidImage naming `field` for a shape that no model paints.
    """
    width, height = size
    if max(size) > ASPECT * min(size):
        raise InvalidImage(
            f"Invalid image for '{field}': one side is more than {ASPECT} times the other; 'size' can cut it.",
            param=field,
        )
    if width * height <= max_pixels:
        return size
    scale = sqrt(max_pixels / (width * height))
    return Size(int(width * scale), int(height * scale))


def native_size(checkpoint: CheckpointEntry, max_pixels: int) -> Size:
    """The square that a checkpoint was trained on, or the largest that `max_pixels` allows."""
    side = int(sqrt(min(checkpoint.native_area, max_pixels))) // SIDE_UNIT * SIDE_UNIT
    return Size(side, side)


def paint_size(size: Size, checkpoint: CheckpointEntry) -> Sizes:
    """Painted as requested up to the checkpoint's pixel budget, above it at its training area in the requested aspect.

    Tiny pictures are painted larger, so that no side falls below 64.
    """
    width, height = size
    above = width * height > checkpoint.native_pixels
    scale = sqrt(checkpoint.native_area / (width * height)) if above else 1.0
    scale = max(scale, SHORTEST_SIDE / min(width, height))
    return Sizes(width, height, *_in_units(width * scale, height * scale, checkpoint.native_pixels))


def fill_size(size: Size, checkpoint: CheckpointEntry) -> Size:
    """The size of the same aspect ratio at which a checkpoint paints best, larger or smaller than `size`."""
    width, height = size
    long = min(max(width, height), ASPECT * min(width, height))
    width, height = min(width, long), min(height, long)
    scale = sqrt(checkpoint.native_area / (width * height))
    return Size(*_in_units(width * scale, height * scale, checkpoint.native_pixels))


def _in_units(width: float, height: float, budget: int) -> tuple[int, int]:
    """The nearest multiples of 8, or the ones below where the nearest would exceed the budget."""
    near = round(width / SIDE_UNIT) * SIDE_UNIT, round(height / SIDE_UNIT) * SIDE_UNIT
    if near[0] * near[1] <= budget:
        return near
    return _unit_below(width), _unit_below(height)


def _unit_below(side: float) -> int:
    return max(int(side) // SIDE_UNIT * SIDE_UNIT, SHORTEST_SIDE)
