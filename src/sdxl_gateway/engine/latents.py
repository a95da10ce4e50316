"""Takes pictures and a seed, gives latents: drawn as noise, or encoded by the VAE."""

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
from sdxl_gateway.engine.device import sent
from sdxl_gateway.engine.errors import give_memory_back, out_of_memory
from sdxl_gateway.engine.models.checkpoint import Checkpoint

T = TypeVar("T")

SEEDS = 2**64


@dataclass(frozen=True, slots=True, eq=False)
class LatentSource:
    """One canvas's random numbers and its VAE; `height` and `width` are in latents.

    Numbers are drawn on the CPU, in float32, from the image's own seed: a picture depends neither on the device nor on
    its neighbours. Whoever draws does so in diffusers' order: encoded image, noise, encoded masked image, and then the
    sampler's own.
    """

    checkpoint: Checkpoint
    generator: torch.Generator
    height: int
    width: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, recipe: Recipe, index: int) -> LatentSource:
        """The source of image `index`, whose seed is the recipe's plus `index`."""
        generator = torch.Generator("cpu").manual_seed((recipe.seed + index) % SEEDS)
        scale = checkpoint.latent_scale
        return cls(checkpoint, generator, recipe.paint_height // scale, recipe.paint_width // scale)

    def draw(self) -> Tensor:
        """(1, 4, height, width) normal numbers, float32 on the CPU."""
        channels = self.checkpoint.vae.config.latent_channels
        return torch.randn(1, channels, self.height, self.width, generator=self.generator, dtype=torch.float32)

    def noise(self) -> Tensor:
        """The same on the device."""
        return sent(self.draw(), self.checkpoint.device)

    def encode(self, pixels: Tensor) -> Tensor:
        """Scaled latents of (1, 3, h, w) pixels, float32 on the device, drawn from the distribution the VAE gives."""
        return self.drawn(self.distribution(pixels))

    def distribution(self, pixels: Tensor) -> Tensor:
        """What the VAE gives of (1, 3, h, w) pixels: means, then standard deviations, of latents not yet scaled."""
        vae = self.checkpoint.vae
        height, width = pixels.shape[-2:]
        given = pixels.to(self.checkpoint.device, self.checkpoint.vae_dtype)
        found = in_pieces_that_fit(self.checkpoint, height * width, lambda: vae.encode(given)).latent_dist
        return torch.cat([found.mean, found.std], dim=1).float()

    def drawn(self, distribution: Tensor) -> Tensor:
        """Scaled latents, of a size with the source's own."""
        mean, std = distribution.chunk(2, dim=1)
        return scaled(self.checkpoint.vae, mean + std * self.noise())


def in_pieces_that_fit(checkpoint: Checkpoint, pixels: int, call: Callable[[], T]) -> T:
    """What `call` of the VAE gives; in tiles for an area that is too large, or where the device has no room after all.

    Tiles are diffusers' own, overlapping and blended: a picture in tiles differs a little from one in a single piece.
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
    """What the VAE makes of them: (1, 3, height, width) float32, -1 to 1 and a little beyond."""
    vae, area = checkpoint.vae, checkpoint.latent_scale**2 * latents.shape[-2] * latents.shape[-1]
    given = unscaled(vae, latents).to(checkpoint.vae_dtype)
    found: Tensor = in_pieces_that_fit(checkpoint, area, lambda: checkpoint.decoder(given, return_dict=False)[0])
    return found.float()


def needed(picture: T | None) -> T:
    """The picture. Raises EngineFault where there is none: admission lets no such job through."""
    if picture is None:
        raise EngineFault("A picture to start from is missing.")
    return picture


def pixels_of(picture: Picture, box: Box | None = None) -> Tensor:
    """(1, 3, height, width) float32, -1 to 1; of all of it, or of one part."""
    return centred(zero_to_one(picture, box))


def centred(shown: Tensor) -> Tensor:
    """From (1, channels, height, width), 0 to 1, to the VAE's three channels, -1 to 1."""
    return (2.0 * shown - 1.0).expand(1, CHANNELS["RGB"], -1, -1)


def repainted(mask: Tensor) -> Tensor:
    """(1, 1, height, width), true where to repaint, of a mask as it is shown."""
    return mask[:, :1] >= 0.5


def zero_to_one(picture: Picture, box: Box | None = None) -> Tensor:
    """(1, channels, height, width) float32, 0 to 1; of all of it, or of one part."""
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, CHANNELS[picture.mode])
    if box is not None:
        rows = rows[box.top : box.bottom, box.left : box.right]
    return torch.from_numpy(rows.astype(np.float32) / 255.0).permute(2, 0, 1)[None].contiguous()


def shown_on(device: torch.device, pictures: Mapping[str, Picture]) -> dict[str, Tensor]:
    """What `zero_to_one` gives of each, on the device: their bytes go there in one copy."""
    if not pictures:
        return {}
    flat = np.concatenate([np.frombuffer(picture.pixels, np.uint8) for picture in pictures.values()])
    parts = torch.split(sent(torch.from_numpy(flat), device), [len(picture.pixels) for picture in pictures.values()])
    return {
        role: _zero_to_one(part.view(picture.height, picture.width, CHANNELS[picture.mode]))
        for (role, picture), part in zip(pictures.items(), parts, strict=True)
    }


def _zero_to_one(rows: Tensor) -> Tensor:
    return rows.permute(2, 0, 1)[None].contiguous().float() / 255.0


def scaled(vae: Any, latents: Tensor) -> Tensor:
    """From the VAE's range to the UNet's."""
    shift = _shift(vae, latents)
    if shift is None:
        return latents * float(vae.config.scaling_factor)
    mean, std = shift
    return (latents - mean) * float(vae.config.scaling_factor) / std


def unscaled(vae: Any, latents: Tensor) -> Tensor:
    """From the UNet's range to the VAE's."""
    shift = _shift(vae, latents)
    if shift is None:
        return latents / float(vae.config.scaling_factor)
    mean, std = shift
    return latents * std / float(vae.config.scaling_factor) + mean


def _shift(vae: Any, like: Tensor) -> tuple[Tensor, Tensor] | None:
    mean, std = vae.config.latents_mean, vae.config.latents_std
    if mean is None or std is None:
        return None
    each = sent(torch.tensor([mean, std], dtype=like.dtype), like.device).view(2, 1, -1, 1, 1)
    return each[0], each[1]
