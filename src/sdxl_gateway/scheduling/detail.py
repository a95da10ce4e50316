"""The tiles of a detail pass, in which the upscaled picture is painted over, and their steps.

Tiles have the size the recipe paints at: a step of a tile costs as much as a step of the picture, in time and memory.
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
"""Each tile is encoded before its UNet calls, and decoded after them."""


def detail_size(recipe: Recipe) -> Size:
    """The size that is painted over: the picture's, with its sides rounded to units."""
    width, height = (ceil(side / SIDE_UNIT) * SIDE_UNIT for side in (recipe.width, recipe.height))
    return Size(width, height)


def detail_tiles(recipe: Recipe) -> list[Box]:
    """The tiles row by row; all of one size, overlapping, and covering everything."""
    size = detail_size(recipe)
    width, height = min(recipe.paint_width, size.width), min(recipe.paint_height, size.height)
    lefts, tops = _starts(size.width, width), _starts(size.height, height)
    return [Box(left, top, left + width, top + height) for top in tops for left in lefts]


def _starts(length: int, side: int) -> list[int]:
    """The starts of tiles along one side: evenly spaced, in units, from 0 to the last one that fits."""
    if side == length:
        return [0]
    shared = side // OVERLAP
    last = ceil((length - shared) / (side - shared)) - 1
    return [(length - side) * place // last // SIDE_UNIT * SIDE_UNIT for place in range(last + 1)]


def detail_steps(recipe: Recipe) -> int:
    """The steps of one picture's detail pass: each tile's encode, UNet calls and decode; 0 without a detail pass."""
    if not recipe.detail:
        return 0
    return len(detail_tiles(recipe)) * (recipe.detail_calls + ENCODED_AND_DECODED)


def closing_steps(recipe: Recipe) -> int:
    """The steps of a picture after those of its sampler: upscaled tiles, then those of the detail pass."""
    return tile_count(recipe) + detail_steps(recipe)
