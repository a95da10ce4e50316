"""Repaint: an inpainting without an inpainting UNet; what is to be kept is put back after each step."""

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
    """`mask` (1, 1, h, w) is true where to repaint; `image_latents` are of the picture, `noise` is what covers them."""

    mask: Tensor
    image_latents: Tensor
    noise: Tensor

    @classmethod
    def begin(cls, canvas: Canvas) -> Self | None:
        """For an inpainting with a UNet that is told nothing of it."""
        if canvas.recipe.task is not Task.INPAINT or canvas.image_latents is None or canvas.checkpoint.inpaints:
            return None
        mask = interpolate(repainted(needed(canvas.pictures.get("mask"))).float(), size=canvas.latents.shape[-2:])
        canvas.source.draw()  # diffusers encodes the masked image here too: later draws are to be the same
        return cls(mask.bool(), canvas.image_latents, canvas.noise)

    def after_step(self, canvas: Canvas) -> None:
        """What is kept comes back as it is, at the noise level of the step to come."""
        canvas.latents = self._over(self._kept(canvas), canvas.latents)

    def handed_over(self, canvas: Canvas) -> Self:
        """Under noise drawn anew, as diffusers' second pipeline has it."""
        return replace(self, noise=canvas.source.noise())

    def previewed(self, latents: Tensor) -> Tensor:
        """With what is kept, without noise."""
        return self._over(self.image_latents, latents)

    def _kept(self, canvas: Canvas) -> Tensor:
        """Without noise where a pipeline of diffusers would end, be it the first of two."""
        following = canvas.steps_done + 1
        if following == canvas.sampler_steps or canvas.recipe.hands_over_at(following):
            return self.image_latents
        timestep = canvas.timesteps[following : following + 1]
        return noised(canvas.sampler, self.image_latents, self.noise, timestep)

    def _over(self, kept: Tensor, painted: Tensor) -> Tensor:
        return torch.where(self.mask, painted, kept)
