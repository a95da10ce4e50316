"""The tiles in which a picture is upscaled, small enough that other jobs wait only for one."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

from sdxl_gateway.core.limits import SIDE_UNIT
from sdxl_gateway.core.picture import Box, Size
from sdxl_gateway.core.recipe import Recipe

TILE = 256
"""The side of a tile in pixels, before upscaling."""
CONTEXT = 24
"""Pixels around a tile that the net sees too, so that there are no seams."""


def tiles_of(size: Size) -> list[Box]:
    """The tiles row by row: of about equal sides, at most `TILE`, covering everything without overlap."""
    columns, rows = _cuts(size.width), _cuts(size.height)
    return [Box(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def _cuts(length: int) -> list[int]:
    count = ceil(length / TILE)
    # Nets that fold pixels into channels need even sides.
    return [length * place // count // SIDE_UNIT * SIDE_UNIT for place in range(count)] + [length]


def with_context(tile: Box, size: Size) -> Box:
    """The tile with the context that the net sees."""
    return Box(
        max(tile.left - CONTEXT, 0),
        max(tile.top - CONTEXT, 0),
        min(tile.right + CONTEXT, size.width),
        min(tile.bottom + CONTEXT, size.height),
    )


def tile_count(recipe: Recipe) -> int:
    """How many tiles of one of its pictures are upscaled; 0 if no net upscales it."""
    return len(tiles_of(Size(recipe.paint_width, recipe.paint_height))) if recipe.upscaler else 0
