"""Previews of a running picture are as cheap as configured: a linear map is only used for SDXL's latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdxl_gateway.config import Preview
from sdxl_gateway.core.picture import NO_INPUTS, Picture
from sdxl_gateway.engine.stages.looks import SDXL_RGB_OF_ZEROS, SDXL_SCALING_FACTOR, in_sdxl_space, linear_rgb
from tests.kit.engine import Studio, pixels, recipe, studio

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def look(room: Studio, *, in_sdxls_space: bool) -> tuple[Picture, int]:
    """The preview after the first of two steps, and how often the VAE decoded for it."""
    vae, decodes = room.loaded().checkpoint.vae, []
    if in_sdxls_space:
        vae.register_to_config(scaling_factor=SDXL_SCALING_FACTOR)
    decode = vae.decode

    def counted(*given: object, **named: object) -> object:
        decodes.append(given)
        return decode(*given, **named)

    vae.decode = counted
    canvas = room.engine.begin(recipe(steps=2), 0, NO_INPUTS)
    room.engine.step([canvas])
    canvas.pred_original = torch.linspace(-1.0, 1.0, 64).view(1, 1, 8, 8).repeat(1, 4, 1, 1)
    return room.engine.preview(canvas).result(), len(decodes)


@pytest.mark.parametrize(
    ("preview", "in_sdxls_space", "decoded", "side"),
    [
        ("auto", True, 0, 8),
        ("linear", True, 0, 8),
        ("vae", True, 1, 64),
        ("auto", False, 1, 64),
        ("linear", False, 1, 64),
        ("vae", False, 1, 64),
    ],
)
def test_how_it_is_made(tmp_path: Path, preview: Preview, in_sdxls_space: bool, decoded: int, side: int) -> None:
    room = studio(tmp_path, preview=preview)
    found, decodes = look(room, in_sdxls_space=in_sdxls_space)
    assert decodes == decoded
    assert (found.width, found.height) == (side, side)
    assert np.ptp(pixels(found)) > 20


def test_the_demos_latents_are_not_sdxls(demo: Studio) -> None:
    """No linear map gives their colours: the best one is 37 of 255 off."""
    assert not in_sdxl_space(demo.loaded().checkpoint.vae)


def test_the_first_channel_is_the_light() -> None:
    latents = torch.zeros(1, 4, 2, 2)
    assert torch.allclose(linear_rgb(latents)[0, :, 0, 0], torch.tensor(SDXL_RGB_OF_ZEROS))
    latents[:, 0] = 2.0
    assert bool((linear_rgb(latents) > 0.6).all())
    latents[:, 0] = -2.0
    assert bool((linear_rgb(latents) < -0.6).all())
