"""Takes a recipe, its embeddings and its pictures, gives a Canvas ready for the first step.

Random numbers are drawn in diffusers' order (encoded image, noise, encoded masked image, then the sampler's own), on
the CPU, in float32, from the image's own seed: a picture depends neither on the device nor on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.picture import CHANNELS, Inputs, Picture
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.engine.canvas import Canvas, Conditioning, Repaint
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.samplers import step_options
from sdxl_gateway.engine.stages.encode import Embedding

SEEDS = 2**64


def prepare(
    checkpoint: Checkpoint, recipe: Recipe, index: int, inputs: Inputs, positive: Embedding, negative: Embedding
) -> Canvas:
    """Raises InvalidRequest for steps the sampler cannot take."""
    generator = torch.Generator("cpu").manual_seed((recipe.seed + index) % SEEDS)
    sampler = checkpoint.samplers.make(recipe.sampler, recipe.steps)
    timesteps = _timesteps(sampler, recipe)
    init = _LatentInit(checkpoint, recipe, generator, sampler, timesteps)
    latents, repaint, extra_channels = init.set_up(inputs)
    return Canvas(
        recipe=recipe,
        index=index,
        checkpoint=checkpoint,
        conditioning=_condition(checkpoint, recipe, positive, negative),
        sampler=sampler,
        step_options=step_options(sampler, generator),
        timesteps=timesteps,
        unet_timesteps=timesteps.to(checkpoint.device, torch.float32),
        latents=latents,
        repaint=repaint,
        extra_channels=extra_channels,
    )


def _timesteps(sampler: Any, recipe: Recipe) -> Tensor:
    """Those still to be taken; the sampler is told where it starts."""
    skipped = 0 if recipe.task is Task.TEXT_TO_IMAGE else recipe.steps - recipe.denoise_steps
    first = skipped * sampler.order
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(first)
    left: Tensor = sampler.timesteps[first:]
    return left


@dataclass(frozen=True, slots=True)
class _LatentInit:
    """Sets up one canvas's latents."""

    checkpoint: Checkpoint
    recipe: Recipe
    generator: torch.Generator
    sampler: Any
    timesteps: Tensor

    def set_up(self, inputs: Inputs) -> tuple[Tensor, Repaint | None, Tensor | None]:
        """First latents, what to keep, further input channels."""
        if self.recipe.task is Task.INPAINT:
            return self._inpaint(_needed(inputs.image), _needed(inputs.mask))
        latents = self._from_noise() if self.recipe.task is Task.TEXT_TO_IMAGE else self._from_image(inputs)
        return latents, None, self._nothing_given() if self.checkpoint.inpaints else None

    def _from_noise(self) -> Tensor:
        return self._filled(self._noise())

    def _filled(self, noise: Tensor) -> Tensor:
        """Latents that are nothing but noise, as strong as the sampler begins with."""
        return noise * float(self.sampler.init_noise_sigma)

    def _from_image(self, inputs: Inputs) -> Tensor:
        image_latents = self._encode(_pixels(_needed(inputs.image)))
        return self._noised(image_latents, self._noise())

    def _inpaint(self, image: Picture, mask: Picture) -> tuple[Tensor, Repaint | None, Tensor | None]:
        pixels, repainted = _pixels(image), _mask(mask)
        from_noise = self.recipe.strength == 1.0
        image_latents = None
        if not self.checkpoint.inpaints or not from_noise:
            image_latents = self._encode(pixels)
        noise = self._noise()
        latents = self._filled(noise) if from_noise or image_latents is None else self._noised(image_latents, noise)
        small = torch.nn.functional.interpolate(repainted, size=latents.shape[-2:]).to(self.checkpoint.device)
        if self.checkpoint.inpaints or image_latents is None:
            return latents, None, torch.cat([small, self._encode(pixels * (repainted < 0.5))], dim=1)
        self._draw()  # diffusers encodes the masked image here too: later draws are to be the same
        return latents, Repaint(small, image_latents, noise), None

    def _nothing_given(self) -> Tensor:
        """An inpainting UNet that is to paint everything."""
        blank = torch.zeros(1, CHANNELS["RGB"], self.recipe.paint_height, self.recipe.paint_width)
        kept = self._encode(blank)
        return torch.cat([torch.ones_like(kept[:, :1]), kept], dim=1)

    def _draw(self) -> Tensor:
        scale = self.checkpoint.latent_scale
        height, width = self.recipe.paint_height // scale, self.recipe.paint_width // scale
        channels = self.checkpoint.vae.config.latent_channels
        return torch.randn(1, channels, height, width, generator=self.generator, dtype=torch.float32)

    def _noise(self) -> Tensor:
        return self._draw().to(self.checkpoint.device)

    def _noised(self, latents: Tensor, noise: Tensor) -> Tensor:
        noised: Tensor = self.sampler.add_noise(latents, noise, self.timesteps[:1])
        return noised

    def _encode(self, pixels: Tensor) -> Tensor:
        """Scaled latents, float32, drawn from the distribution the VAE gives."""
        vae = self.checkpoint.vae
        found = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        return scaled(vae, found.mean.float() + found.std.float() * self._noise())


def _needed(picture: Picture | None) -> Picture:
    if picture is None:
        raise EngineFault("A picture to start from is missing.")
    return picture


def _array(picture: Picture) -> Tensor:
    """(1, channels, height, width), 0 to 1."""
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, CHANNELS[picture.mode])
    return torch.from_numpy(rows.astype(np.float32) / 255.0).permute(2, 0, 1)[None].contiguous()


def _pixels(picture: Picture) -> Tensor:
    """(1, 3, height, width), -1 to 1."""
    return (2.0 * _array(picture) - 1.0).expand(1, CHANNELS["RGB"], -1, -1)


def _mask(picture: Picture) -> Tensor:
    """(1, 1, height, width), 0 or 1."""
    return (_array(picture)[:, :1] >= 0.5).float()


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
    return like.new_tensor(mean).view(1, -1, 1, 1), like.new_tensor(std).view(1, -1, 1, 1)


def _condition(checkpoint: Checkpoint, recipe: Recipe, positive: Embedding, negative: Embedding) -> Conditioning:
    size = (recipe.paint_height, recipe.paint_width)
    time_ids = torch.tensor([(*size, 0, 0, *size)], dtype=checkpoint.dtype, device=checkpoint.device)
    width = checkpoint.unet.config.time_cond_proj_dim
    if width is not None:
        guidance = _guidance_embedding(recipe.guidance_scale - 1, width).to(checkpoint.device, checkpoint.dtype)
        return Conditioning(positive.tokens, positive.pooled, time_ids, guidance)
    if not recipe.guided:
        return Conditioning(positive.tokens, positive.pooled, time_ids)
    return Conditioning(
        torch.cat([negative.tokens, positive.tokens]),
        torch.cat([negative.pooled, positive.pooled]),
        torch.cat([time_ids, time_ids]),
    )


def _guidance_embedding(scale: float, width: int) -> Tensor:
    """(1, width): the sines and cosines a distilled UNet was taught its guidance scale with."""
    half = width // 2
    places = torch.exp(torch.arange(half, dtype=torch.float32) * -(np.log(10000.0) / (half - 1)))
    angles = torch.tensor([scale * 1000.0], dtype=torch.float32)[:, None] * places[None]
    found = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(found, (0, width - found.shape[1]))
