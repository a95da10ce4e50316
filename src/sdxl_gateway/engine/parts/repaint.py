"""Repaint: inpainting without an inpainting UNet; the part to be kept is restored after each step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine.canvas import Canvas, StepPart
from sdxl_gateway.engine.latents import needed, repainted
from sdxl_gateway.engine.models.samplers import noised


@dataclass(frozen=True, slots=True, eq=False)
class Repaint(StepPart):
    """`mask` (1, 1, h, w) is true where to repaint; `image_latents` are the picture's, `noise` is added to them."""

    mask: Tensor
    image_latents: Tensor
    noise: Tensor

    @classmethod
    def begin(cls, canvas: Canvas) -> Self | None:
        """For inpainting by a checkpoint without an inpainting UNet."""
        if canvas.recipe.task is not Task.INPAINT or canvas.image_latents is None or canvas.checkpoint.inpaints:
            return None
        mask = interpolate(repainted(needed(canvas.pictures.get("mask"))).float(), size=canvas.latents.shape[-2:])
        canvas.source.draw()  # diffusers encodes the masked image here; later random numbers must equal its own
        return cls(mask.bool(), canvas.image_latents, canvas.noise)

    def after_step(self, canvas: Canvas) -> None:
        """Restore the kept part at the next step's noise level."""
        canvas.latents = self._over(self._kept(canvas), canvas.latents)

    def handed_over(self, canvas: Canvas) -> Self:
        """With noise drawn anew, as diffusers' second pipeline does."""
        return replace(self, noise=canvas.source.noise())

    def previewed(self, latents: Tensor) -> Tensor:
        """With the kept part, without noise."""
        return self._over(self.image_latents, latents)

    def _kept(self, canvas: Canvas) -> Tensor:
        """The picture's latents at the next noise level; without noise where one of diffusers' pipelines would end."""
        following = canvas.steps_done + 1
        if following == canvas.sampler_steps or canvas.recipe.hands_over_at(following):
            return self.image_latents
        timestep = canvas.timesteps[following : following + 1]
        return noised(canvas.sampler, self.image_latents, self.noise, timestep)

    def _over(self, kept: Tensor, painted: Tensor) -> Tensor:
        return torch.where(self.mask, painted, kept)
