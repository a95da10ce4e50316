"""Takes results for overlapping tiles, gives the whole, with each tile blended into its neighbours.

At every position the weights of the tiles there sum to 1, and each tile's weight falls to 0 at its edges, so that no
seam can show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sdxl_gateway.core.picture import Box
from sdxl_gateway.engine.device import to_device

Span = tuple[int, int]


class Mosaic:
    """Blends `tiles`, which lie in a grid; `scale` pixels along a side are one position of the whole."""

    def __init__(self, tiles: Sequence[Box], scale: int = 1) -> None:
        boxes = [scaled_down(tile, scale) for tile in tiles]
        self._columns = _weights({(box.left, box.right) for box in boxes})
        self._rows = _weights({(box.top, box.bottom) for box in boxes})
        self._size = max(box.bottom for box in boxes), max(box.right for box in boxes)
        self._scale = scale
        self._whole: Tensor | None = None

    def add(self, tile: Box, values: Tensor) -> Tensor:
        """Add one tile's `values`, (1, channels, h, w). Gives the whole so far, (1, channels, height, width) float32 on
        the device of the first tile.
        """
        if self._whole is None:
            self._whole = self._empty_like(values)
        box = scaled_down(tile, self._scale)
        weights = self._rows[box.top, box.bottom][:, None] * self._columns[box.left, box.right]
        within(self._whole, box).add_(values * weights)
        return self._whole

    def _empty_like(self, values: Tensor) -> Tensor:
        """The whole before its first tile; moves the weights to the device of `values`."""
        for weights in (self._rows, self._columns):
            weights |= {span: to_device(weight, values.device) for span, weight in weights.items()}
        return values.new_zeros(*values.shape[:2], *self._size, dtype=torch.float32)


def scaled_down(box: Box, scale: int) -> Box:
    """The box in units of `scale` pixels."""
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)


def within(whole: Tensor, box: Box) -> Tensor:
    """The part of (..., height, width) inside `box`, as a view."""
    return whole[..., box.top : box.bottom, box.left : box.right]


def _weights(spans: Iterable[Span]) -> dict[Span, Tensor]:
    """Each span's weight at its positions: in proportion to their distance from its nearer end, summing to 1."""
    length = max(high for _, high in spans)
    depths = {span: _distances_to_end(span, length) for span in spans}
    total = torch.zeros(length)
    for (low, high), depth in depths.items():
        total[low:high] += depth
    return {(low, high): depth / total[low:high] for (low, high), depth in depths.items()}


def _distances_to_end(span: Span, length: int) -> Tensor:
    """From 0.5 upwards; the ends of the whole (0 and `length`) do not count, as nothing is blended there."""
    low, high = span
    positions = torch.arange(low, high) + 0.5
    from_low = positions - low if low > 0 else torch.full_like(positions, length)
    from_high = high - positions if high < length else torch.full_like(positions, length)
    return torch.minimum(from_low, from_high)
