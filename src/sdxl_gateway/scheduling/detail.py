"""Takes a recipe with a detail pass, gives the tiles in which the enlarged picture is painted over, and its steps.

Tiles are of the size the recipe paints at: a step of one costs what any step of the picture costs, in time and memory.
"""

from __future__ import annotations

from math import ceil

from sdxl_gateway.core.limits import SIDE_UNIT
from sdxl_gateway.core.picture import Box, Size
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.tiles import tile_count

OVERLAP = 8
"""Neighbouring tiles share at least this part of their side."""
ENCODED_AND_DECODED = 2
"""A tile is encoded before the UNet's calls for it, and decoded after them."""


def detail_size(recipe: Recipe) -> Size:
    """The size of the whole that is painted over: that of the picture, its sides in units."""
    width, height = (ceil(side / SIDE_UNIT) * SIDE_UNIT for side in (recipe.width, recipe.height))
    return Size(width, height)


def detail_tiles(recipe: Recipe) -> list[Box]:
    """Row by row; all of one size, covering the whole and overlapping."""
    size = detail_size(recipe)
    width, height = min(recipe.paint_width, size.width), min(recipe.paint_height, size.height)
    lefts, tops = _starts(size.width, width), _starts(size.height, height)
    return [Box(left, top, left + width, top + height) for top in tops for left in lefts]


def _starts(length: int, side: int) -> list[int]:
    """Evenly spaced, in units, the first at 0 and the last as far along as there is room."""
    if side == length:
        return [0]
    shared = side // OVERLAP
    last = ceil((length - shared) / (side - shared)) - 1
    return [(length - side) * place // last // SIDE_UNIT * SIDE_UNIT for place in range(last + 1)]


def detail_steps(recipe: Recipe) -> int:
    """Of one picture: for each tile an encoding, the UNet's calls, and a decoding; 0 without a detail pass."""
    if not recipe.detail:
        return 0
    return len(detail_tiles(recipe)) * (recipe.detail_calls + ENCODED_AND_DECODED)


def closing_steps(recipe: Recipe) -> int:
    """Steps of a picture that follow those of its sampler: tiles that are enlarged, then those of the detail pass."""
    return tile_count(recipe) + detail_steps(recipe)
