"""Of a blurred picture only patches of its mean colours are left."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageDraw

from sdxl_gateway.pictures.blur import CELLS, unrecognisable


@pytest.mark.parametrize("size", [(256, 256), (1536, 1024), (64, 512), (3, 1)])
def test_it_keeps_its_size_and_little_else(size: tuple[int, int]) -> None:
    blurred = unrecognisable(Image.effect_noise(size, 90).convert("RGB"))
    assert (blurred.size, blurred.mode) == (size, "RGB")


def test_what_is_smaller_than_a_patch_cannot_be_told() -> None:
    plain = Image.new("RGB", (480, 480), (120, 120, 120))
    written = plain.copy()
    for at in range(0, 480, 8):
        ImageDraw.Draw(written).rectangle((at, 0, at + 3, 479), fill=(0, 0, 0))
        ImageDraw.Draw(written).rectangle((at + 4, 0, at + 7, 479), fill=(240, 240, 240))
    apart = ImageChops.difference(unrecognisable(plain), unrecognisable(written))
    assert max(high for _, high in apart.getextrema()) <= 1  # type: ignore[misc]
    assert 480 // CELLS == 40
