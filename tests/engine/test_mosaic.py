"""Tiles put together: where they agree nothing changes, and where they differ they are blended."""

from __future__ import annotations

import pytest
import torch

from sdxl_gateway.engine.mosaic import Mosaic, scaled_down, within
from sdxl_gateway.scheduling.detail import detail_tiles
from tests.kit.recipes import recipe

SIZES = [(64, 64, 64, 64), (160, 128, 64, 64), (512, 256, 128, 256), (1024, 1024, 256, 256)]


@pytest.mark.parametrize("scale", [1, 8])
@pytest.mark.parametrize("size", SIZES)
def test_a_whole_cut_up_comes_back(size: tuple[int, int, int, int], scale: int) -> None:
    width, height, paint_width, paint_height = size
    tiles = detail_tiles(recipe(width=width, height=height, paint_width=paint_width, paint_height=paint_height))
    whole = torch.randn(1, 3, height // scale, width // scale)
    mosaic = Mosaic(tiles, scale)
    for tile in tiles:
        found = mosaic.add(tile, within(whole, scaled_down(tile, scale)))
    assert torch.allclose(found, whole, atol=1e-6)
    assert len(tiles) > 1 or torch.equal(found, whole)


def test_tiles_that_disagree_meet_in_a_ramp() -> None:
    tiles = detail_tiles(recipe(width=1024, height=256, paint_width=256, paint_height=256))
    mosaic = Mosaic(tiles)
    for number, tile in enumerate(tiles):
        found = mosaic.add(tile, torch.full((1, 1, 256, 256), float(number % 2)))
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)
    shared = tiles[0].right - tiles[1].left
    assert found.diff(dim=-1).abs().max() <= 1.01 / shared
    assert found.diff(dim=-2).abs().max() < 1e-6
