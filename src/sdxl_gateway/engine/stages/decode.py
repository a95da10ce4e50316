"""Takes a canvas's latents, gives a Picture under way: the finished one, or a cheap look at it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from sdxl_gateway.core.errors import NotFinite
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.engine.canvas import Canvas, Pending
from sdxl_gateway.engine.device import bfloat16_works, choose_vae_dtype, finish_steps
from sdxl_gateway.engine.latents import decoded
from sdxl_gateway.engine.models.checkpoint import Checkpoint, plain_decoder
from sdxl_gateway.engine.models.placement import set_tiles
from sdxl_gateway.engine.models.pretrained import empty_model, filled
from sdxl_gateway.engine.readback import Readback, eight_bit, picture_of
from sdxl_gateway.engine.stages.looks import Looks
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.engine.timing import Clock

log = logging.getLogger(__name__)

BROKEN = "The picture came out as numbers that are not finite; another LoRA weight, guidance or seed may help."


class Decode(Stage):
    """The VAE's work, and looks at what it would give."""

    name = "decode"

    def __init__(self, looks: Looks, clock: Clock) -> None:
        self._looks = looks
        self._clock = clock
        self._overflowed: WeakSet[Any] = WeakSet()

    @torch.inference_mode()
    def preview(self, canvas: Canvas) -> Pending:
        """The predicted clean picture."""
        return self._looks.begin(canvas)

    @torch.inference_mode()
    def close(self, canvas: Canvas) -> bool:
        """The first time. Raises DoesNotFit."""
        if canvas.decoding is not None:
            return False
        checkpoint = canvas.checkpoint
        if checkpoint.vae in self._overflowed:
            self._keep_wide(checkpoint)
        told = partial(self._overflowed.add, checkpoint.vae)
        canvas.decoding = Decoding.begin(checkpoint, canvas.latents, self._clock, told).picture
        return True

    def _keep_wide(self, checkpoint: Checkpoint) -> None:
        """In a format of more range, for each picture would only break again; nobody decodes by it meanwhile."""
        dtype = _roomier(checkpoint.vae_dtype, checkpoint.device)
        finish_steps(checkpoint.device)
        with torch.inference_mode(False):
            checkpoint.vae.to(dtype)
        self._overflowed.discard(checkpoint.vae)
        log.warning("the VAE of %s overflows: it is kept in %s from now on", checkpoint.name, dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Decoding:
    """A decode under way. After its pixels two bytes come: whether the latents, and the pixels, are finite.

    `overflowed` hears that the VAE broke and did not in float32.
    """

    checkpoint: Checkpoint
    latents: Tensor
    height: int
    width: int
    clock: Clock
    data: Readback
    overflowed: Callable[[], None]

    @classmethod
    def begin(cls, checkpoint: Checkpoint, latents: Tensor, clock: Clock, overflowed: Callable[[], None]) -> Decoding:
        """On the present stream; nothing is waited for."""
        pixels = decoded(checkpoint, latents)
        finite = torch.stack([torch.isfinite(latents).all(), torch.isfinite(pixels).all()])
        data = torch.cat([eight_bit(pixels).flatten(), finite.to(torch.uint8)])
        height, width = pixels.shape[-2:]
        return cls(checkpoint, latents, height, width, clock, Readback.begin(data, clock, latents), overflowed)

    @torch.inference_mode()
    def picture(self) -> Picture:
        """Waits, on any thread. Raises NotFinite for latents, or a decoded picture, that are no numbers."""
        data = self.data.wait()
        latents_finite, pixels_finite = data[-2:].tolist()
        if pixels_finite and latents_finite:
            return picture_of(data[:-2], self.height, self.width)
        if not latents_finite or self.checkpoint.vae_dtype is torch.float32:
            raise NotFinite(BROKEN)
        picture = self._in_float32().picture()
        self.overflowed()
        return picture

    def _in_float32(self) -> Decoding:
        return Decoding.begin(_in_float32(self.checkpoint), self.latents, self.clock, self.overflowed)


def decoded_on_host(checkpoint: Checkpoint, latents: Tensor) -> Tensor:
    """(1, 3, height, width) float32, -1 to 1 and a little beyond; waits. Raises NotFinite."""
    pixels = decoded(checkpoint, latents).cpu()
    if bool(torch.isfinite(pixels).all()):
        return pixels
    if checkpoint.vae_dtype is torch.float32:
        raise NotFinite(BROKEN)
    return decoded_on_host(_in_float32(checkpoint), latents)


def _in_float32(checkpoint: Checkpoint) -> Checkpoint:
    wide = _widened(checkpoint.vae, checkpoint.device)
    return replace(checkpoint, vae=wide, decoder=plain_decoder(wide))


def _widened(vae: Any, device: torch.device) -> Any:
    """A copy: others may be decoding by the VAE itself."""
    with torch.inference_mode(False):
        tensors = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in vae.state_dict().items()}
        wide = filled(empty_model(AutoencoderKL, vae.config), tensors)
    set_tiles(wide)
    return wide.eval().requires_grad_(False)


def _roomier(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    if dtype is not torch.float16:
        return torch.float32
    return choose_vae_dtype(dtype, device.type, force_upcast=True, bfloat16_works=bfloat16_works(device))
