"""Takes a canvas's latents, gives a pending Picture: the finished one, or a cheap preview."""

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
    """Decodes by the VAE, and makes previews of what that would give."""

    name = "decode"

    def __init__(self, looks: Looks, clock: Clock) -> None:
        self._looks = looks
        self._clock = clock
        self._overflowed: WeakSet[Any] = WeakSet()

    @torch.inference_mode()
    def preview(self, canvas: Canvas) -> Pending:
        """Of the predicted clean picture."""
        return self._looks.begin(canvas)

    @torch.inference_mode()
    def close(self, canvas: Canvas) -> bool:
        """Issue the decode, on the first call. Raises DoesNotFit."""
        if canvas.decoding is not None:
            return False
        checkpoint = canvas.checkpoint
        if checkpoint.vae in self._overflowed:
            self._convert_wider(checkpoint)
        on_overflow = partial(self._overflowed.add, checkpoint.vae)
        canvas.decoding = Decoding.begin(checkpoint, canvas.latents, self._clock, on_overflow).picture
        return True

    def _convert_wider(self, checkpoint: Checkpoint) -> None:
        """Convert a VAE that overflowed to a dtype of wider range, for good, once no decode by it is running."""
        dtype = _wider(checkpoint.vae_dtype, checkpoint.device)
        finish_steps(checkpoint.device)
        with torch.inference_mode(False):
            checkpoint.vae.to(dtype)
        self._overflowed.discard(checkpoint.vae)
        log.warning("the VAE of %s overflows: it computes in %s from now on", checkpoint.name, dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Decoding:
    """A decode in progress. Its `data` are pixels and two more bytes: whether latents, and pixels, are finite.

    `on_overflow` is called if the VAE's output was not finite, but is in float32.
    """

    checkpoint: Checkpoint
    latents: Tensor
    height: int
    width: int
    clock: Clock
    data: Readback
    on_overflow: Callable[[], None]

    @classmethod
    def begin(cls, checkpoint: Checkpoint, latents: Tensor, clock: Clock, on_overflow: Callable[[], None]) -> Decoding:
        """Issue it on the current stream, without waiting."""
        pixels = decoded(checkpoint, latents)
        finite = torch.stack([torch.isfinite(latents).all(), torch.isfinite(pixels).all()])
        data = torch.cat([eight_bit(pixels).flatten(), finite.to(torch.uint8)])
        height, width = pixels.shape[-2:]
        return cls(checkpoint, latents, height, width, clock, Readback.begin(data, clock, latents), on_overflow)

    @torch.inference_mode()
    def picture(self) -> Picture:
        """Wait for it, on any thread. Raises NotFinite if the latents, or pixels even in float32, are not finite."""
        data = self.data.wait()
        latents_finite, pixels_finite = data[-2:].tolist()
        if pixels_finite and latents_finite:
            return picture_of(data[:-2], self.height, self.width)
        if not latents_finite or self.checkpoint.vae_dtype is torch.float32:
            raise NotFinite(BROKEN)
        again = Decoding.begin(_in_float32(self.checkpoint), self.latents, self.clock, self.on_overflow)
        picture = again.picture()
        self.on_overflow()
        return picture


def decoded_on_host(checkpoint: Checkpoint, latents: Tensor) -> Tensor:
    """(1, 3, height, width) float32, -1 to 1 and a little beyond; waits for the device. Raises NotFinite."""
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
    """A copy in float32; the VAE itself may be decoding other pictures."""
    with torch.inference_mode(False):
        tensors = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in vae.state_dict().items()}
        wide = filled(empty_model(AutoencoderKL, vae.config), tensors)
    set_tiles(wide)
    return wide.eval().requires_grad_(False)


def _wider(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    if dtype is not torch.float16:
        return torch.float32
    return choose_vae_dtype(dtype, device.type, force_upcast=True, bfloat16_works=bfloat16_works(device))
