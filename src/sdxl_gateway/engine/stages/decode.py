"""Takes a canvas's latents, gives a Picture: the finished one, or a cheap preview of it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdxl_gateway.core.errors import NotFinite
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.device import bfloat16_works, choose_vae_dtype
from sdxl_gateway.engine.latents import in_pieces_that_fit, unscaled
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.models.preview_vae import PREVIEW_VAE
from sdxl_gateway.engine.stages.stage import Stage

log = logging.getLogger(__name__)

PREVIEW_LATENTS = 64 * 64
"""A preview is decoded from at most so many latents: a quarter of the work at SDXL's native size."""
BROKEN = "The picture came out as numbers that are not finite; another LoRA weight, guidance or seed may help."


class Decode(Stage):
    """The VAE's work."""

    name = "decode"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    @torch.inference_mode()
    def preview(self, canvas: Canvas) -> Picture:
        """The predicted clean picture at paint size: by a tiny VAE where there is one, else decoded small."""
        latents = _predicted(canvas)
        for part in canvas.parts:
            latents = part.previewed(latents)
        if PREVIEW_VAE in self._pool.loaders:
            return _picture(_decode_by(self._pool.get(PREVIEW_VAE, PREVIEW_VAE), latents).nan_to_num())
        return _decoded_small(canvas, latents)

    @torch.inference_mode()
    def close(self, canvas: Canvas) -> bool:
        """The first time. Raises NotFinite for latents, or a decoded picture, that are no numbers."""
        if canvas.picture is not None:
            return False
        canvas.picture = _finished(canvas)
        return True


def _finished(canvas: Canvas) -> Picture:
    if not _finite(canvas.latents):
        raise NotFinite(BROKEN)
    checkpoint = canvas.checkpoint
    pixels = _decode(checkpoint, canvas.latents)
    if not _finite(pixels) and checkpoint.vae_dtype is not torch.float32:
        pixels = _decode_in_float32(checkpoint, canvas.latents)
    if not _finite(pixels):
        raise NotFinite(BROKEN)
    return _picture(pixels)


def _decoded_small(canvas: Canvas, latents: Tensor) -> Picture:
    """Enlarged where the picture is large."""
    height, width = latents.shape[-2:]
    if height * width > PREVIEW_LATENTS:
        shrink = (PREVIEW_LATENTS / (height * width)) ** 0.5
        size = (max(round(height * shrink), 1), max(round(width * shrink), 1))
        latents = interpolate(latents, size=size, mode="area")
    pixels = _decode(canvas.checkpoint, latents).nan_to_num()
    full = (canvas.recipe.paint_height, canvas.recipe.paint_width)
    if pixels.shape[-2:] != full:
        pixels = interpolate(pixels, size=full, mode="bilinear", align_corners=False)
    return _picture(pixels)


def _decode_by(tiny: Any, latents: Tensor) -> Tensor:
    found: Tensor = tiny.decode((latents / float(tiny.config.scaling_factor)).to(tiny.dtype), return_dict=False)[0]
    return found.float()


def _predicted(canvas: Canvas) -> Tensor:
    """The clean latents as far as they are known; after the last step they are there."""
    if canvas.pred_original is None or canvas.denoised:
        return canvas.latents
    return canvas.pred_original


def _decode(checkpoint: Checkpoint, latents: Tensor) -> Tensor:
    """(1, 3, height, width) float32, -1 to 1 and a little beyond."""
    vae, area = checkpoint.vae, checkpoint.latent_scale**2 * latents.shape[-2] * latents.shape[-1]
    given = unscaled(vae, latents).to(checkpoint.vae_dtype)
    found: Tensor = in_pieces_that_fit(checkpoint, area, lambda: vae.decode(given, return_dict=False)[0])
    return found.float()


def _decode_in_float32(checkpoint: Checkpoint, latents: Tensor) -> Tensor:
    """The VAE is then kept in a format of more range if that helped: the next picture would only break again.

    Widening and narrowing back leaves every weight as it was.
    """
    vae, dtype = checkpoint.vae, checkpoint.vae_dtype
    try:
        _bring(vae, torch.float32)
        pixels = _decode(checkpoint, latents)
        if _finite(pixels):
            dtype = _roomier(dtype, checkpoint.device)
            log.warning("the VAE of %s overflows: it is kept in %s from now on", checkpoint.name, dtype)
        return pixels
    finally:
        _bring(vae, dtype)


def _bring(vae: Any, dtype: torch.dtype) -> None:
    with torch.inference_mode(False):
        vae.to(dtype)


def _roomier(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    if dtype is not torch.float16:
        return torch.float32
    return choose_vae_dtype(dtype, device.type, force_upcast=True, bfloat16_works=bfloat16_works(device))


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _picture(pixels: Tensor) -> Picture:
    rows = (pixels * 0.5 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    height, width = rows.shape[-2:]
    return Picture(width, height, "RGB", rows[0].permute(1, 2, 0).contiguous().cpu().numpy().tobytes())
