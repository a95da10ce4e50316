"""Tests core/sizes.py: what a refusal proposes is never refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.core.limits import ASPECT, LONGEST_SIDE, SHORTEST_SIDE, SIDE_UNIT
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.sizes import nearest_size

sides = st.integers(0, 10**6) | st.integers(0, 300)


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ((1001, 1024), (1000, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((99999, 5), (256, 64)),
        ((0, 64), (64, 64)),
        ((64, 4096), (64, 256)),
        ((4096, 4096), (2048, 2048)),
        ((4096, 2048), (2896, 1448)),
    ],
)
def test_the_nearest_size(asked: tuple[int, int], near: tuple[int, int]) -> None:
    assert nearest_size(Size(*asked), 2048 * 2048) == near


@given(sides, sides, st.integers(SHORTEST_SIDE**2, 2**24))
def test_the_nearest_size_is_painted(width: int, height: int, max_pixels: int) -> None:
    near = nearest_size(Size(width, height), max_pixels)
    assert all(SHORTEST_SIDE <= side <= LONGEST_SIDE and side % SIDE_UNIT == 0 for side in near)
    assert max(near) <= ASPECT * min(near)
    assert near.width * near.height <= max_pixels
