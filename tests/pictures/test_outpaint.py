"""A picture gets room at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdxl_gateway.core.picture import Padding
from sdxl_gateway.pictures.decode import Decoded
from sdxl_gateway.pictures.outpaint import padded

PADDINGS = [Padding(8, 0, 0, 0), Padding(0, 3, 0, 5), Padding(1, 2, 3, 4), Padding(200, 100, 7, 0)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", [(20, 10), (1, 1)])
def test_the_edges_are_drawn_out_and_all_of_it_is_painted(padding: Padding, size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 90).convert("RGB")
    found = padded(Decoded(image, None), padding)
    rows = ((padding.top, padding.bottom), (padding.left, padding.right))
    assert np.array_equal(np.asarray(found.image), np.pad(np.asarray(image), (*rows, (0, 0)), mode="edge"))
    assert found.mask is not None
    kept = np.zeros((size[1], size[0]), np.uint8)
    assert np.array_equal(np.asarray(found.mask), np.pad(kept, rows, constant_values=255))


def test_what_was_masked_stays_so() -> None:
    mask = Image.new("L", (20, 10), 0)
    mask.paste(255, (2, 3, 5, 6))
    found = padded(Decoded(Image.new("RGB", (20, 10)), mask), Padding(left=4))
    assert found.mask is not None
    assert found.mask.crop((4, 0, 24, 10)).tobytes() == mask.tobytes()
