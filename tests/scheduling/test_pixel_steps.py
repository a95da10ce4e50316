"""What a request costs is what is painted, once for each step."""

from __future__ import annotations

from sdxl_gateway.scheduling.pixel_steps import pixel_steps
from tests.kit.recipes import recipe


def test_pixels_times_steps_times_pictures() -> None:
    assert pixel_steps(recipe(steps=3)) == 3 * 64 * 64
    assert pixel_steps(recipe(steps=30, count=10, width=2048, height=2048)) == 10 * 30 * 2048 * 2048


def test_half_the_way_costs_half() -> None:
    assert pixel_steps(recipe(task="image_to_image", steps=20, strength=0.5)) == 10 * 64 * 64


def test_what_is_painted_counts_and_not_what_leaves() -> None:
    assert pixel_steps(recipe(steps=1, width=64, height=64, paint_width=128)) == 128 * 64


def test_a_detail_pass_counts_tile_by_tile() -> None:
    plain = recipe(width=128, height=128, paint_width=64, paint_height=64, steps=10)
    tiles = 9
    assert pixel_steps(recipe(width=128, height=128, paint_width=64, paint_height=64, steps=10, detail=0.5)) == (
        pixel_steps(plain) + tiles * (5 + 2) * 64 * 64
    )
