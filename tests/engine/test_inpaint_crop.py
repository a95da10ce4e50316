"""Painting a crop around the mask equals diffusers' `padding_mask_crop`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sdxl_gateway.admission.framing import Framing, framed
from sdxl_gateway.admission.sizes import Sizes
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.pictures.decode import Decoded
from sdxl_gateway.pictures.finish import finish
from tests.kit.admission import demo as demo_entry
from tests.kit.engine import SIDE, Studio, photo, recipe
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FULL = 192
HOLE = (80, 72, 112, 104)
PADDING = 16
NATIVE = replace(demo_entry(), native_area=SIDE * SIDE, native_pixels=SIDE * SIDE)


def test_the_same_picture(demo: Studio, reference: Reference) -> None:
    source = photo(FULL, FULL)
    image, mask = Image.frombytes("RGB", (FULL, FULL), source.pixels), Image.new("L", (FULL, FULL), 0)
    mask.paste(255, HOLE)
    found = framed(Decoded(image, mask), Sizes(FULL, FULL, FULL, FULL), NATIVE, Framing(padding=PADDING, seam=0))
    assert found.sizes.painted == (SIDE, SIDE)
    wanted = recipe(task=Task.INPAINT, strength=1.0, steps=4)
    ours = np.asarray(finish(demo.paint(wanted, found.inputs), Size(FULL, FULL), found.kept))
    pipeline = reference._pipeline(wanted)
    theirs = pipeline(
        prompt=wanted.prompt,
        image=image,
        mask_image=mask,
        width=SIDE,
        height=SIDE,
        padding_mask_crop=PADDING,
        strength=1.0,
        num_inference_steps=4,
        guidance_scale=wanted.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(wanted.seed),
    ).images[0]
    inside = np.asarray(mask) == 255
    assert np.ptp(ours[inside]) > 20
    assert np.abs(ours.astype(int) - np.asarray(theirs).astype(int))[inside].max() <= 1
    assert np.array_equal(ours[~inside], np.asarray(image)[~inside])
