"""What the image encoder sees of a picture is what transformers' own processor shows it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from sdxl_gateway.pictures.clip_view import clip_view


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (201, 333), (31, 17), (224, 223), (800, 201), (7, 21)])
@pytest.mark.parametrize("side", [32, 224])
def test_as_the_processor_has_it(size: tuple[int, int], side: int) -> None:
    image = Image.effect_noise((size[0], size[1]), 90).convert("RGB")
    processor = CLIPImageProcessorPil(size=side, crop_size=side, do_rescale=False, do_normalize=False)
    theirs = np.asarray(processor(image).pixel_values[0]).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(clip_view(image, side)), theirs)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (5000, 100)])
def test_a_very_long_one_is_cut_before_it_is_enlarged(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (9, 9, 9))
    image.paste((200, 100, 50), (size[0] // 2 - 200, size[1] // 2 - 200, size[0] // 2 + 200, size[1] // 2 + 200))
    seen = clip_view(image, 224)
    assert seen.size == (224, 224)
    assert seen.getextrema() == ((200, 200), (100, 100), (50, 50))
