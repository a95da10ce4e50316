"""The size nearest to another one that can be painted."""

from __future__ import annotations

from math import sqrt

from sdxl_gateway.core.limits import ASPECT, LONGEST_SIDE, SHORTEST_SIDE, SIDE_UNIT
from sdxl_gateway.core.picture import Size


def nearest_size(size: Size, max_pixels: int) -> Size:
    """A size within the limits of sides and aspect, of at most `max_pixels` (4096 or more); its aspect may differ."""
    short, long = sorted(min(max(side, SHORTEST_SIDE), LONGEST_SIDE) for side in size)
    scale = min(1.0, sqrt(max_pixels / (short * long)))
    short = max(_in_units(short * scale), SHORTEST_SIDE)
    long = min(_in_units(long * scale), ASPECT * short, max_pixels // short // SIDE_UNIT * SIDE_UNIT)
    return Size(short, long) if size.width <= size.height else Size(long, short)


def _in_units(side: float) -> int:
    return round(side / SIDE_UNIT) * SIDE_UNIT
