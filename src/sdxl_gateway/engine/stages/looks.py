"""Takes a running canvas, gives a preview of its picture: by a tiny VAE, a linear map of the latents, or the VAE."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdxl_gateway.config import Preview
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.engine.canvas import Canvas, Pending
from sdxl_gateway.engine.latents import decoded
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.models.preview_vae import PREVIEW_VAE
from sdxl_gateway.engine.readback import Readback, eight_bit, picture_of

VAE_LATENTS = 64 * 64
"""The VAE decodes a preview from at most so many latents: a quarter of the work at SDXL's native size."""
SDXL_SCALING_FACTOR = 0.13025
"""Identifies VAEs of SDXL's latent space: no other VAE that diffusers reads has this factor."""
SDXL_RGB = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
)
"""Red, green and blue, -1 to 1, for each unit of each of SDXL's latent channels; SDXL_RGB_OF_ZEROS is the bias.

As ComfyUI measured them for its own previews (comfy/latent_formats.py, class SDXL).
"""
SDXL_RGB_OF_ZEROS = (0.1084, -0.0175, -0.0011)


class Looks:
    """Makes previews by the method that `how`, the setting `engine.preview`, names."""

    def __init__(self, pool: ModelPool, how: Preview) -> None:
        self._pool = pool
        self._how = how

    def begin(self, canvas: Canvas) -> Pending:
        """The predicted clean picture, at paint size or smaller, of the same proportions; does not wait."""
        latents = _predicted(canvas)
        for part in canvas.parts:
            latents = part.previewed(latents)
        pixels = self._pixels(canvas, latents).nan_to_num()
        height, width = pixels.shape[-2:]
        data = Readback.begin(eight_bit(pixels).flatten(), self._pool.timings.mark, latents)

        def picture() -> Picture:
            return picture_of(data.wait(), height, width)

        return picture

    def _pixels(self, canvas: Canvas, latents: Tensor) -> Tensor:
        """(1, 3, h, w), -1 to 1 and a little beyond; h and w may be smaller than the picture's."""
        if PREVIEW_VAE in self._pool.loaders:
            return decoded_by(self._pool.get(PREVIEW_VAE, PREVIEW_VAE), latents)
        if self._how != "vae" and in_sdxl_space(canvas.checkpoint.vae):
            return linear_rgb(latents)
        return decoded_small(canvas.checkpoint, latents)


def in_sdxl_space(vae: Any) -> bool:
    """The VAE has the latent space of SDXL's own."""
    config = vae.config
    return bool(config.scaling_factor == SDXL_SCALING_FACTOR and config.latents_mean is None)


def linear_rgb(latents: Tensor) -> Tensor:
    """(1, 3, h, w) of SDXL's latents (1, 4, h, w): one pixel for each."""
    colours, of_zeros = latents.new_tensor(SDXL_RGB), latents.new_tensor(SDXL_RGB_OF_ZEROS)
    return torch.einsum("nchw,cr->nrhw", latents, colours) + of_zeros.view(1, 3, 1, 1)


def decoded_small(checkpoint: Checkpoint, latents: Tensor) -> Tensor:
    """The VAE's pixels for latents shrunk to at most VAE_LATENTS."""
    height, width = latents.shape[-2:]
    if height * width > VAE_LATENTS:
        shrink = (VAE_LATENTS / (height * width)) ** 0.5
        size = (max(round(height * shrink), 1), max(round(width * shrink), 1))
        latents = interpolate(latents, size=size, mode="area")
    return decoded(checkpoint, latents)


def decoded_by(tiny: Any, latents: Tensor) -> Tensor:
    """The pixels of an AutoencoderTiny."""
    pixels: Tensor = tiny.decode((latents / float(tiny.config.scaling_factor)).to(tiny.dtype), return_dict=False)[0]
    return pixels.float()


def _predicted(canvas: Canvas) -> Tensor:
    """The predicted clean latents; after the last step, the latents themselves."""
    if canvas.pred_original is None or canvas.denoised:
        return canvas.latents
    return canvas.pred_original
