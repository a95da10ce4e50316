"""Takes what was made of overlapping tiles, gives the whole, in which each tile is led over into its neighbours.

At every place the shares of the tiles there sum to 1, and fall to 0 at the edges of each: a seam has no place to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Box
from sdxl_gateway.engine.device import sent

Span = tuple[int, int]


class Mosaic:
    """Of `tiles` that are rows of columns; `scale` of their pixels along a side are one place of the whole."""

    def __init__(self, tiles: Sequence[Box], scale: int = 1) -> None:
        boxes = [scaled_down(tile, scale) for tile in tiles]
        self._columns = _shares({(box.left, box.right) for box in boxes})
        self._rows = _shares({(box.top, box.bottom) for box in boxes})
        self._size = max(box.bottom for box in boxes), max(box.right for box in boxes)
        self._scale = scale
        self._whole: Tensor | None = None

    def add(self, tile: Box, values: Tensor) -> Tensor:
        """What was made of one of the tiles, (1, channels, h, w). Gives the whole so far, (1, channels, height, width)
        float32 on the device of the first tile.
        """
        if self._whole is None:
            self._whole = self._begun(values)
        box = scaled_down(tile, self._scale)
        shares = self._rows[box.top, box.bottom][:, None] * self._columns[box.left, box.right]
        within(self._whole, box).add_(values * shares)
        return self._whole

    def _begun(self, values: Tensor) -> Tensor:
        for shares in (self._rows, self._columns):
            shares |= {span: sent(share, values.device) for span, share in shares.items()}
        return values.new_zeros(*values.shape[:2], *self._size, dtype=torch.float32)


def scaled_down(box: Box, scale: int) -> Box:
    """The same where `scale` pixels along a side are one place."""
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)


def within(whole: Tensor, box: Box) -> Tensor:
    """(..., height, width) of that part, itself and no copy."""
    return whole[..., box.top : box.bottom, box.left : box.right]


def _shares(spans: Iterable[Span]) -> dict[Span, Tensor]:
    """How much each of the spans counts at its places: in proportion to how far these are from its nearer end."""
    length = max(high for _, high in spans)
    depths = {span: _depths(span, length) for span in spans}
    total = torch.zeros(length)
    for (low, high), depth in depths.items():
        total[low:high] += depth
    return {(low, high): depth / total[low:high] for (low, high), depth in depths.items()}


def _depths(span: Span, length: int) -> Tensor:
    """Half a place at an end; an end of the whole is none."""
    low, high = span
    places = torch.arange(low, high) + 0.5
    from_low = places - low if low > 0 else torch.full_like(places, length)
    from_high = high - places if high < length else torch.full_like(places, length)
    return torch.minimum(from_low, from_high)
