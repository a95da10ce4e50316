"""Takes pictures and a seed, gives latents: random noise, or pictures encoded by the VAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.picture import CHANNELS, Box, Picture
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.device import to_device
from sdxl_gateway.engine.errors import give_memory_back, out_of_memory
from sdxl_gateway.engine.models.checkpoint import Checkpoint

T = TypeVar("T")

SEEDS = 2**64


@dataclass(frozen=True, slots=True, eq=False)
class LatentSource:
    """One canvas's random generator and VAE; `height` and `width` are in latents.

    Numbers are drawn on the CPU, in float32, from the image's own seed, so that a picture depends neither on the device
    nor on its batch. Callers draw in diffusers' order: encoded image, noise, encoded masked image, and then the
    sampler's own.
    """

    checkpoint: Checkpoint
    generator: torch.Generator
    height: int
    width: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, recipe: Recipe, index: int) -> LatentSource:
        """For image `index` of a request, whose seed is the recipe's plus `index`."""
        generator = torch.Generator("cpu").manual_seed((recipe.seed + index) % SEEDS)
        scale = checkpoint.latent_scale
        return cls(checkpoint, generator, recipe.paint_height // scale, recipe.paint_width // scale)

    def draw(self) -> Tensor:
        """(1, 4, height, width) normal numbers, float32 on the CPU."""
        channels = self.checkpoint.vae.config.latent_channels
        return torch.randn(1, channels, self.height, self.width, generator=self.generator, dtype=torch.float32)

    def noise(self) -> Tensor:
        """As `draw`, on the device."""
        return to_device(self.draw(), self.checkpoint.device)

    def encode(self, pixels: Tensor) -> Tensor:
        """Scaled latents of (1, 3, h, w) pixels, float32 on the device, sampled from the VAE's distribution."""
        return self.sample(self.distribution(pixels))

    def distribution(self, pixels: Tensor) -> Tensor:
        """The VAE's distribution for (1, 3, h, w) pixels: means, then standard deviations, of unscaled latents."""
        vae = self.checkpoint.vae
        height, width = pixels.shape[-2:]
        inputs = pixels.to(self.checkpoint.device, self.checkpoint.vae_dtype)
        latents = _tiled_where_needed(self.checkpoint, height * width, lambda: vae.encode(inputs)).latent_dist
        return torch.cat([latents.mean, latents.std], dim=1).float()

    def sample(self, distribution: Tensor) -> Tensor:
        """Scaled latents drawn from a `distribution` of the source's own height and width."""
        mean, std = distribution.chunk(2, dim=1)
        return scaled(self.checkpoint.vae, mean + std * self.noise())


def _tiled_where_needed(checkpoint: Checkpoint, pixels: int, call: Callable[[], T]) -> T:
    """The result of `call`, which calls the VAE: with tiling for a large area, or if it runs out of memory without.

    Tiles are diffusers' own, overlapping and blended: a tiled picture differs a little from one in a single piece.
    """
    if pixels <= checkpoint.placement.whole_pixels:
        try:
            return call()
        except Exception as error:
            if not out_of_memory(error):
                raise
        give_memory_back()
    checkpoint.vae.enable_tiling()
    try:
        return call()
    finally:
        checkpoint.vae.disable_tiling()


def decoded(checkpoint: Checkpoint, latents: Tensor) -> Tensor:
    """The VAE's pixels for scaled latents: (1, 3, height, width) float32, -1 to 1 and a little beyond."""
    vae, area = checkpoint.vae, checkpoint.latent_scale**2 * latents.shape[-2] * latents.shape[-1]
    inputs = unscaled(vae, latents).to(checkpoint.vae_dtype)
    pixels: Tensor = _tiled_where_needed(checkpoint, area, lambda: checkpoint.decoder(inputs, return_dict=False)[0])
    return pixels.float()


def needed(picture: T | None) -> T:
    """The picture, not None. Raises EngineFault, which admission should have made impossible."""
    if picture is None:
        raise EngineFault("A picture to start from is missing.")
    return picture


def pixels_of(picture: Picture, box: Box | None = None) -> Tensor:
    """(1, 3, height, width) float32, -1 to 1, of the picture or the part of it inside `box`."""
    return centred(zero_to_one(picture, box))


def centred(pixels: Tensor) -> Tensor:
    """From (1, channels, height, width), 0 to 1, to the VAE's three channels, -1 to 1."""
    return (2.0 * pixels - 1.0).expand(1, CHANNELS["RGB"], -1, -1)


def repainted(mask: Tensor) -> Tensor:
    """(1, 1, height, width), true where to repaint, of a mask (1, channels, height, width) from 0 to 1."""
    return mask[:, :1] >= 0.5


def zero_to_one(picture: Picture, box: Box | None = None) -> Tensor:
    """(1, channels, height, width) float32, 0 to 1, of the picture or the part of it inside `box`."""
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, CHANNELS[picture.mode])
    if box is not None:
        rows = rows[box.top : box.bottom, box.left : box.right]
    return torch.from_numpy(rows.astype(np.float32) / 255.0).permute(2, 0, 1)[None].contiguous()


def pictures_on(device: torch.device, pictures: Mapping[str, Picture]) -> dict[str, Tensor]:
    """`zero_to_one` of each picture, on the device: the bytes of all are copied there at once."""
    if not pictures:
        return {}
    flat = np.concatenate([np.frombuffer(picture.pixels, np.uint8) for picture in pictures.values()])
    pixels = to_device(torch.from_numpy(flat), device)
    parts = torch.split(pixels, [len(picture.pixels) for picture in pictures.values()])
    return {
        role: _zero_to_one(part.view(picture.height, picture.width, CHANNELS[picture.mode]))
        for (role, picture), part in zip(pictures.items(), parts, strict=True)
    }


def _zero_to_one(rows: Tensor) -> Tensor:
    return rows.permute(2, 0, 1)[None].contiguous().float() / 255.0


def scaled(vae: Any, latents: Tensor) -> Tensor:
    """From the VAE's scale of latents to the UNet's."""
    shift = _shift(vae, latents)
    if shift is None:
        return latents * float(vae.config.scaling_factor)
    mean, std = shift
    return (latents - mean) * float(vae.config.scaling_factor) / std


def unscaled(vae: Any, latents: Tensor) -> Tensor:
    """From the UNet's scale of latents to the VAE's."""
    shift = _shift(vae, latents)
    if shift is None:
        return latents / float(vae.config.scaling_factor)
    mean, std = shift
    return latents * std / float(vae.config.scaling_factor) + mean


def _shift(vae: Any, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """Means and standard deviations (1, channels, 1, 1) of latents, for a VAE that has them in its config."""
    mean, std = vae.config.latents_mean, vae.config.latents_std
    if mean is None or std is None:
        return None
    each = to_device(torch.tensor([mean, std], dtype=like.dtype), like.device).view(2, 1, -1, 1, 1)
    return each[0], each[1]
