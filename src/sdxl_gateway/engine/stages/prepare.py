"""Takes a canvas whose texts are encoded, sets up its first step: sampler, latents and parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sdxl_gateway.core.recipe import Phase, Recipe, Task
from sdxl_gateway.engine.canvas import Canvas, PartFactory
from sdxl_gateway.engine.device import to_device
from sdxl_gateway.engine.latents import LatentSource, centred, needed, pictures_on
from sdxl_gateway.engine.models.samplers import noised, step_options
from sdxl_gateway.engine.stages.stage import Stage


class Prepare(Stage):
    """`parts` are made in this order, which is also that of their random draws and of joining a UNet call."""

    name = "prepare"

    def __init__(self, parts: Sequence[PartFactory]) -> None:
        self._parts = parts

    @torch.inference_mode()
    def begin(self, canvas: Canvas) -> None:
        """Raises InvalidRequest for steps a sampler cannot take, EngineFault if a picture to start from is missing."""
        recipe, checkpoint = canvas.recipe, canvas.checkpoint
        canvas.source = LatentSource.of(checkpoint, recipe, canvas.index)
        give_sampler(canvas)
        canvas.recipe = _with_exact_phases(recipe, canvas.sampler, canvas.timesteps)
        canvas.pictures = pictures_on(checkpoint.device, canvas.inputs.painted_from)
        if _needs_image_latents(canvas):
            canvas.image_latents = canvas.source.encode(centred(needed(canvas.pictures.get("image"))))
        canvas.noise = canvas.source.noise()
        canvas.latents = first_latents(canvas)
        canvas.parts = tuple(part for begin in self._parts if (part := begin(canvas)) is not None)
        canvas.pictures = {}

    @torch.inference_mode()
    def hand_over(self, canvas: Canvas) -> None:
        """The next model's sampler continues at the noise level where the last one ended, with the same latents."""
        recipe, checkpoint = canvas.recipe, canvas.checkpoint
        canvas.source = replace(canvas.source, checkpoint=checkpoint)
        canvas.sampler = checkpoint.samplers.make(recipe.sampler, recipe.steps, recipe.schedule)
        canvas.step_options = step_options(canvas.sampler, canvas.source.generator, recipe.eta)
        remaining = _timesteps_from_share(canvas.sampler, canvas.phase)
        canvas.timesteps = torch.cat([canvas.timesteps[: canvas.steps_done], remaining])
        canvas.unet_timesteps = to_device(canvas.timesteps, checkpoint.device, torch.float32)
        parts = (part.handed_over(canvas) for part in canvas.parts)
        canvas.parts = tuple(part for part in parts if part is not None)


def give_sampler(canvas: Canvas) -> None:
    """Set the canvas's sampler and timesteps, before its first step; its `source` must be set."""
    recipe, checkpoint = canvas.recipe, canvas.checkpoint
    canvas.sampler = checkpoint.samplers.make(recipe.sampler, recipe.steps, recipe.schedule)
    canvas.step_options = step_options(canvas.sampler, canvas.source.generator, recipe.eta)
    canvas.timesteps = _timesteps(canvas.sampler, recipe)
    canvas.unet_timesteps = to_device(canvas.timesteps, checkpoint.device, torch.float32)


def _with_exact_phases(recipe: Recipe, sampler: Any, timesteps: Tensor) -> Recipe:
    """Phases given by a share of the steps begin at the first step past it, so that each model takes at least one."""
    exact = []
    for phase in recipe.later_phases:
        if phase.from_share is not None:
            above = int((timesteps >= _cutoff(sampler, phase.from_share)).sum())
            phase = replace(phase, from_step=max(min(above, len(timesteps) - 1), 1))
        exact.append(phase)
    return replace(recipe, later_phases=tuple(exact))


def _cutoff(sampler: Any, share: float) -> int:
    """The training timestep at that share of the way from noise to picture; diffusers' `denoising_end`."""
    train_steps = int(sampler.config.num_train_timesteps)
    return round(train_steps - share * train_steps)


def _timesteps_from_share(sampler: Any, phase: Phase) -> Tensor:
    """Those from the phase's share on, as diffusers' `denoising_start` counts: a second-order step is not split."""
    timesteps: Tensor = sampler.timesteps
    below = int((timesteps < _cutoff(sampler, phase.from_share or 0.0)).sum())
    below += 1 if sampler.order == 2 and below % 2 == 0 else 0
    first = len(timesteps) - min(max(below, 1), len(timesteps))
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(first)
    return timesteps[first:]


def _timesteps(sampler: Any, recipe: Recipe) -> Tensor:
    """Those that the recipe takes, without the first ones that `strength` skips; the sampler begins there."""
    first = (recipe.steps - recipe.steps_taken) * sampler.order
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(first)
    timesteps: Tensor = sampler.timesteps[first:]
    return timesteps


def _starts_from_noise(recipe: Recipe) -> bool:
    return recipe.task is Task.TEXT_TO_IMAGE or (recipe.task is Task.INPAINT and recipe.strength == 1.0)


def _needs_image_latents(canvas: Canvas) -> bool:
    """To start from, or to be restored outside the mask where there is no inpainting UNet."""
    if canvas.recipe.task is Task.INPAINT and not canvas.checkpoint.inpaints:
        return True
    return not _starts_from_noise(canvas.recipe)


def first_latents(canvas: Canvas) -> Tensor:
    """Pure noise at the sampler's initial level, or the picture's latents with noise added."""
    if canvas.image_latents is None or _starts_from_noise(canvas.recipe):
        return canvas.noise * float(canvas.sampler.init_noise_sigma)
    return noised(canvas.sampler, canvas.image_latents, canvas.noise, canvas.timesteps[:1])
