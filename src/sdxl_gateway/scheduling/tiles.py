"""Takes a picture's size, gives the tiles in which it is enlarged: small enough that others wait for one at most."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

from sdxl_gateway.core.limits import SIDE_UNIT
from sdxl_gateway.core.picture import Box, Size
from sdxl_gateway.core.recipe import Recipe

TILE = 256
"""Pixels along a side of what is enlarged at once, before it is."""
CONTEXT = 24
"""Pixels around a tile that the net sees as well, so that tiles meet without a seam."""


def tiles_of(size: Size) -> list[Box]:
    """Row by row; of about equal sides, at most `TILE`, covering all without overlap."""
    columns, rows = _cuts(size.width), _cuts(size.height)
    return [Box(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def _cuts(length: int) -> list[int]:
    count = ceil(length / TILE)
    # Nets that fold pixels into channels need sides they can halve.
    return [length * place // count // SIDE_UNIT * SIDE_UNIT for place in range(count)] + [length]


def with_context(tile: Box, size: Size) -> Box:
    """The tile and what the net sees around it."""
    return Box(
        max(tile.left - CONTEXT, 0),
        max(tile.top - CONTEXT, 0),
        min(tile.right + CONTEXT, size.width),
        min(tile.bottom + CONTEXT, size.height),
    )


def tile_count(recipe: Recipe) -> int:
    """How many tiles one of its pictures is enlarged in; 0 where no net enlarges it."""
    return len(tiles_of(Size(recipe.paint_width, recipe.paint_height))) if recipe.upscaler else 0
