"""The tiles of a detail pass, and how many steps they take."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sdxl_gateway.scheduling.detail import OVERLAP, closing_steps, detail_size, detail_steps, detail_tiles
from tests.kit.recipes import recipe

SIZES = [
    (2048, 2048, 1024, 1024, 9),
    (4096, 4096, 1024, 1024, 25),
    (1024, 1024, 1024, 1024, 1),
    (2432, 1664, 1216, 832, 9),
    (1023, 1537, 840, 1256, 4),
    (520, 64, 256, 64, 3),
]


@pytest.mark.parametrize(("width", "height", "paint_width", "paint_height", "count"), SIZES)
def test_tiles_cover_all_and_overlap(width: int, height: int, paint_width: int, paint_height: int, count: int) -> None:
    wanted = recipe(width=width, height=height, paint_width=paint_width, paint_height=paint_height, detail=0.3)
    tiles, size = detail_tiles(wanted), detail_size(wanted)
    assert len(tiles) == count
    covered = np.zeros((size.height, size.width), int)
    for tile in tiles:
        assert (tile.width, tile.height) == (paint_width, paint_height)
        assert tile.left % 8 == tile.top % 8 == 0
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert covered.shape == (-(-height // 8) * 8, -(-width // 8) * 8)
    assert covered.min() == 1
    lefts = sorted({tile.left for tile in tiles})
    assert all(after - before <= paint_width - paint_width // OVERLAP for before, after in pairwise(lefts))


def test_each_tile_is_encoded_painted_and_decoded() -> None:
    wanted = recipe(steps=20, width=128, height=64, paint_width=64, paint_height=64, detail=0.3)
    assert (wanted.detail_calls, len(detail_tiles(wanted))) == (6, 3)
    assert detail_steps(wanted) == closing_steps(wanted) == 3 * (6 + 2)
    assert detail_steps(recipe(width=128)) == 0
