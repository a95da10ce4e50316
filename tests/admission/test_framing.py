"""What is painted of an upload: the whole, or a mask with its surroundings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from sdxl_gateway.admission.framing import LEAST_PADDING, Framed, Framing, crop_box, framed, surroundings
from sdxl_gateway.admission.sizes import Sizes, fill_size, paint_size
from sdxl_gateway.core.picture import Box, Size
from sdxl_gateway.pictures.decode import Decoded
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.pixels import to_image
from tests.kit.admission import demo

CHECKPOINT = replace(demo(), native_area=256 * 256, native_pixels=300 * 300)


def upload(size: tuple[int, int], hole: tuple[int, int, int, int]) -> Decoded:
    mask = Image.new("L", size, 0)
    mask.paste(255, hole)
    return Decoded(Image.effect_noise(size, 90).convert("RGB"), mask)


def frame(decoded: Decoded, **asked: int) -> Framed:
    size = Size(*decoded.image.size)
    return framed(decoded, paint_size(size, CHECKPOINT), CHECKPOINT, Framing(**asked))


holes = st.tuples(st.integers(0, 99), st.integers(0, 79), st.integers(1, 100), st.integers(1, 80))


@given(holes, st.integers(0, 60), st.sampled_from([(64, 64), (96, 64), (64, 128), (72, 56)]))
@settings(max_examples=300, deadline=None)
def test_the_box_is_the_one_diffusers_crops(
    hole: tuple[int, int, int, int], padding: int, painted: tuple[int, int]
) -> None:
    left, top = min(hole[0], 99), min(hole[1], 79)
    edges = (left, top, min(left + hole[2], 100), min(top + hole[3], 80))
    mask = Image.new("L", (100, 80), 0)
    mask.paste(255, edges)
    theirs = VaeImageProcessor.get_crop_region(mask, *painted, pad=padding)
    box = crop_box(surroundings(Box(*edges), padding, (100, 80)), Size(100, 80), Size(*painted))
    assert (box.left, box.top, box.right, box.bottom) == theirs


def test_a_picture_the_model_paints_whole_is_painted_whole() -> None:
    found = frame(upload((256, 256), (16, 16, 32, 32)))
    assert found.padding is None
    assert found.kept is not None
    assert found.kept.box is None
    assert (found.inputs.image, found.inputs.mask) == (found.kept.original, found.kept.mask)


def test_a_small_mask_is_painted_at_the_models_own_size_when_asked() -> None:
    found = frame(upload((256, 256), (96, 96, 128, 128)), padding=16)
    assert found.sizes == Sizes(256, 256, 256, 256)
    assert found.padding == 16
    assert found.kept is not None
    assert found.kept.box == Box(80, 80, 144, 144)
    mask = found.inputs.mask
    assert mask is not None
    assert to_image(mask).getbbox() == (64, 64, 192, 192)


def test_in_a_larger_picture_it_is_so_unasked() -> None:
    found = frame(upload((1024, 768), (500, 400, 540, 420)))
    assert found.padding == LEAST_PADDING
    assert found.kept is not None
    box = found.kept.box
    assert box is not None
    assert (box.left <= 500 - LEAST_PADDING, box.bottom >= 420 + LEAST_PADDING) == (True, True)
    assert found.sizes.painted == fill_size(Size(296, 276), CHECKPOINT)


def test_a_mask_over_everything_is_painted_whole_all_the_same() -> None:
    found = frame(upload((1024, 1024), (0, 0, 1024, 1024)))
    assert found.kept is not None
    assert found.kept.box == Box(0, 0, 1024, 1024)
    assert found.sizes == Sizes(1024, 1024, 256, 256)


@given(holes, st.none() | st.integers(0, 64), st.none() | st.integers(0, 12), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_comes_back_bit_for_bit(
    hole: tuple[int, int, int, int], padding: int | None, seam: int | None, scale: int
) -> None:
    left, top, right, bottom = hole[0], hole[1], min(hole[0] + hole[2], 100), min(hole[1] + hole[3], 80)
    decoded = upload((100 * scale, 80 * scale), (left * scale, top * scale, right * scale, bottom * scale))
    size = Size(*decoded.image.size)
    found = framed(decoded, paint_size(size, CHECKPOINT), CHECKPOINT, Framing(padding, seam))
    assert found.inputs.image is not None
    assert (found.inputs.image.width, found.inputs.image.height) == found.sizes.painted
    flat = replace(
        found.inputs.image, pixels=bytes([200, 30, 60]) * (found.sizes.paint_width * found.sizes.paint_height)
    )
    result = finish(flat, size, found.kept)
    assert decoded.mask is not None
    changed = ImageChops.difference(result, decoded.image).convert("L").point(lambda value: 255 if value else 0)
    assert ImageChops.subtract(changed, decoded.mask).getbbox() is None


@pytest.mark.parametrize("size", [Size(10, 10), Size(1000, 10), Size(10, 1000), Size(333, 777), Size(4096, 1024)])
def test_the_size_a_model_paints_best_at(size: Size) -> None:
    painted = fill_size(size, CHECKPOINT)
    assert painted.width % 8 == painted.height % 8 == 0
    assert 0.8 * CHECKPOINT.native_area < painted.width * painted.height <= CHECKPOINT.native_pixels
