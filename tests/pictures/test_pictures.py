"""Pictures leave at the asked size and format, with what an inpaint must keep untouched."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdxl_gateway.core.picture import KeptRegion, Picture, Size
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe
from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.finish import finish
from sdxl_gateway.pictures.infotext import infotext
from sdxl_gateway.pictures.pixels import from_image, to_image
from tests.kit import recipes


def noise(width: int, height: int, seed: int = 0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(width, height, "RGB", pixels.tobytes())


def pixels(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (picture.height, picture.width) if picture.mode == "L" else (picture.height, picture.width, 3)
    return np.frombuffer(picture.pixels, np.uint8).reshape(shape)


def test_png_gives_the_same_pixels_back() -> None:
    picture = noise(40, 24)
    image = Image.open(io.BytesIO(encode(to_image(picture), "png")), formats=["PNG"])
    assert (image.mode, image.size, image.tobytes()) == ("RGB", (40, 24), picture.pixels)


def test_a_png_is_as_small_as_pillows_own() -> None:
    ramp = np.linspace(0, 255, 256, dtype=np.uint8)
    soft = np.stack([np.tile(ramp, (256, 1)), np.tile(ramp[:, None], (1, 256)), np.full((256, 256), 90)], axis=-1)
    grainy = (soft + np.random.default_rng(1).integers(0, 3, soft.shape)).clip(0, 255).astype(np.uint8)
    image, plain = Image.fromarray(grainy), io.BytesIO()
    image.save(plain, "PNG")
    assert len(encode(image, "png")) <= 1.02 * len(plain.getvalue())


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_compression_makes_smaller_files(name: str, kind: str) -> None:
    picture = noise(64, 64)
    sizes = [len(encode(to_image(picture), name, compression=level)) for level in (0, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2
    assert Image.open(io.BytesIO(encode(to_image(picture), name)), formats=[kind]).size == (64, 64)


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="gif"):
        encode(to_image(noise(8, 8)), "gif")


def recipe(**changes: Any) -> Recipe:
    blend = Blend.of([BlendPart("ab" * 32, 0.8, 0.8, "ink"), BlendPart("cd" * 32, 0.5, 0.0, "wash")])
    values: dict[str, Any] = {
        "checkpoint": "sdxl",
        "checkpoint_digest": "ef" * 32,
        "blend": blend,
        "prompt": "ein Fuchs, größer",
        "negative_prompt": "blurry",
        "width": 1024,
        "height": 768,
        "steps": 20,
        "sampler": "dpmpp_2m",
        "schedule": "karras",
    }
    return recipes.recipe(**(values | changes))


def test_the_infotext_tells_how_to_paint_it_again() -> None:
    first, second, third = infotext(recipe(), seed=8, version="1.0").split("\n")
    assert first == "ein Fuchs, größer <lora:ink:0.8> <lora:wash:0:0.5>"
    assert second == "Negative prompt: blurry"
    assert third == (
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 8, Size: 1024x768, "
        'Model hash: efefefefef, Model: sdxl, Lora hashes: "ink: abababababab, wash: cdcdcdcdcdcd", '
        "Version: sdxl-gateway 1.0"
    )


def test_the_infotext_tells_block_weights() -> None:
    factors = tuple(place / 8 for place in range(19))
    blend = Blend.of([BlendPart("ab" * 32, 0.8, 0.8, "ink", factors), BlendPart("cd" * 32, 0.5, 0.0, "wash", factors)])
    first, *_ = infotext(recipe(blend=blend), seed=8, version="1.0").split("\n")
    told = ",".join(f"{factor:g}" for factor in factors)
    assert first.endswith(f"<lora:ink:0.8:lbw=1,{told}> <lora:wash:0:0.5:lbw=1,{told}>")


def test_a_schedule_other_than_the_models_own_is_told() -> None:
    assert ", Schedule type: SGM Uniform, " in infotext(recipe(schedule="trailing"), seed=8, version="1")
    assert "Schedule" not in infotext(recipe(schedule="normal"), seed=8, version="1")


def test_fresh_noise_and_rescaled_guidance_are_told() -> None:
    text = infotext(recipe(sampler="tcd", schedule="normal", eta=0.3, guidance_rescale=0.7), seed=8, version="1")
    assert ", Eta: 0.3, CFG rescale: 0.7, " in text


def test_an_end_of_guidance_is_told_where_there_is_guidance() -> None:
    wanted = recipe(guidance_end=0.6, steps=10, guidance_scale=5.0)
    assert ", CFG end: 0.6, " in infotext(wanted, seed=8, version="1")
    assert "CFG end" not in infotext(replace(wanted, guidance_scale=1.0), seed=8, version="1")


def test_a_layer_other_than_the_usual_is_told() -> None:
    assert ", Clip skip: 3, " in infotext(recipe(reading=TextReading(3)), seed=8, version="1")
    assert "Clip skip" not in infotext(recipe(), seed=8, version="1")


def test_an_edit_tells_its_strength() -> None:
    assert "Denoising strength: 0.6" in infotext(recipe(strength=0.6, negative_prompt=""), seed=8, version="1")


def test_a_picture_of_the_asked_size_is_untouched() -> None:
    picture = noise(32, 16)
    assert from_image(finish(picture, Size(32, 16))) == picture


def test_a_smaller_picture_is_enlarged_smoothly() -> None:
    flat = Picture(8, 8, "RGB", bytes([10, 200, 30]) * 64)
    large = finish(flat, Size(24, 16))
    assert (large.width, large.height) == (24, 16)
    assert large.tobytes() == bytes([10, 200, 30]) * (24 * 16)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_kept_region_is_the_upload_bit_for_bit(seed: int, enlarged: bool) -> None:
    painted, original = noise(16, 16, seed), noise(32 if enlarged else 16, 32 if enlarged else 16, seed + 1)
    side = original.width
    levels = np.random.default_rng(seed).choice(np.array([0, 128, 255], np.uint8), (side, side))
    mask = Picture(side, side, "L", levels.tobytes())
    bare = finish(painted, Size(side, side))
    result = finish(painted, Size(side, side), KeptRegion(original, mask))
    assert np.array_equal(np.asarray(result)[levels == 0], pixels(original)[levels == 0])
    assert np.array_equal(np.asarray(result)[levels == 255], np.asarray(bare)[levels == 255])


def test_a_kept_region_of_another_size_is_an_error() -> None:
    keep = KeptRegion(noise(8, 8), Picture(8, 8, "L", bytes(64)))
    with pytest.raises(ValueError, match="another size"):
        finish(noise(16, 16), Size(16, 16), keep)


def seam_step(seam: int, hole: tuple[int, int, int, int]) -> tuple[float, float]:
    """How far colours jump at the left edge of a hole in a smooth picture, painted a little too light, and inside."""
    y, x = np.mgrid[0:64, 0:64]
    smooth = np.stack([x * 2, y * 2, x + y], axis=-1).astype(np.uint8)
    lighter = Picture(64, 64, "RGB", (smooth + 12).tobytes())
    mask = np.zeros((64, 64), np.uint8)
    left, top, right, bottom = hole
    mask[top:bottom, left:right] = 255
    keep = KeptRegion(Picture(64, 64, "RGB", smooth.tobytes()), Picture(64, 64, "L", mask.tobytes()), seam=seam)
    result = np.asarray(finish(lighter, Size(64, 64), keep)).astype(int)
    assert np.array_equal(result[mask == 0], smooth[mask == 0])
    off = result - smooth
    return float(off[top:bottom, left].mean()), float(off[(top + bottom) // 2, (left + right) // 2].mean())


def test_a_seam_leads_over_into_what_is_kept() -> None:
    assert seam_step(0, (16, 16, 48, 48)) == (12, 12)
    edge, middle = seam_step(6, (16, 16, 48, 48))
    assert edge < 4
    assert middle == 12


def test_a_mask_thinner_than_its_seam_is_painted_all_the_same() -> None:
    """Painted something quite different, a thin stroke shows it."""
    original, painted = noise(64, 64, 1), noise(64, 64, 2)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 30:33] = 255
    keep = KeptRegion(original, Picture(64, 64, "L", mask.tobytes()), seam=16)
    stroke = np.asarray(finish(painted, Size(64, 64), keep))[mask == 255].astype(float)
    wanted = pixels(painted)[mask == 255].astype(float)
    assert np.corrcoef(stroke.ravel(), wanted.ravel())[0, 1] > 0.9
