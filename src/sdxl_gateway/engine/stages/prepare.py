"""Takes a canvas whose texts are encoded, gives it what its first step needs: sampler, latents and parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sdxl_gateway.core.recipe import Phase, Recipe, Task
from sdxl_gateway.engine.canvas import Canvas, PartFactory
from sdxl_gateway.engine.device import sent
from sdxl_gateway.engine.latents import LatentSource, centred, needed, pictures_on
from sdxl_gateway.engine.models.samplers import noised, step_options
from sdxl_gateway.engine.stages.stage import Stage


class Prepare(Stage):
    """`parts` are asked in their order, which is that of their draws and of their joining a UNet call."""

    name = "prepare"

    def __init__(self, parts: Sequence[PartFactory]) -> None:
        self._parts = parts

    @torch.inference_mode()
    def begin(self, canvas: Canvas) -> None:
        """Raises InvalidRequest for steps the sampler cannot take, EngineFault where a picture to start from lacks."""
        recipe, checkpoint = canvas.recipe, canvas.checkpoint
        canvas.source = LatentSource.of(checkpoint, recipe, canvas.index)
        give_sampler(canvas)
        canvas.recipe = _with_exact_phases(recipe, canvas.sampler, canvas.timesteps)
        canvas.pictures = pictures_on(checkpoint.device, canvas.inputs.painted_from)
        if _starts_from_a_picture(canvas):
            canvas.image_latents = canvas.source.encode(centred(needed(canvas.pictures.get("image"))))
        canvas.noise = canvas.source.noise()
        canvas.latents = first_latents(canvas)
        canvas.parts = tuple(part for begin in self._parts if (part := begin(canvas)) is not None)
        canvas.pictures = {}

    @torch.inference_mode()
    def hand_over(self, canvas: Canvas) -> None:
        """A sampler of the next model's begins where the one before was to end; the latents stay as they are."""
        recipe, checkpoint = canvas.recipe, canvas.checkpoint
        canvas.source = replace(canvas.source, checkpoint=checkpoint)
        canvas.sampler = checkpoint.samplers.make(recipe.sampler, recipe.steps, recipe.schedule)
        canvas.step_options = step_options(canvas.sampler, canvas.source.generator, recipe.eta)
        left = _steps_left(canvas.sampler, canvas.phase)
        canvas.timesteps = torch.cat([canvas.timesteps[: canvas.steps_done], left])
        canvas.unet_timesteps = sent(canvas.timesteps, checkpoint.device, torch.float32)
        following = (part.handed_over(canvas) for part in canvas.parts)
        canvas.parts = tuple(part for part in following if part is not None)


def give_sampler(canvas: Canvas) -> None:
    """A sampler of its own, with all steps that the recipe takes still to be taken; its source is there."""
    recipe, checkpoint = canvas.recipe, canvas.checkpoint
    canvas.sampler = checkpoint.samplers.make(recipe.sampler, recipe.steps, recipe.schedule)
    canvas.step_options = step_options(canvas.sampler, canvas.source.generator, recipe.eta)
    canvas.timesteps = _timesteps(canvas.sampler, recipe)
    canvas.unet_timesteps = sent(canvas.timesteps, checkpoint.device, torch.float32)


def _with_exact_phases(recipe: Recipe, sampler: Any, timesteps: Tensor) -> Recipe:
    """Phases by shares begin after the last step that is above their share; each model takes a step at least."""
    exact = []
    for phase in recipe.later_phases:
        if phase.from_share is not None:
            above = int((timesteps >= _cutoff(sampler, phase.from_share)).sum())
            phase = replace(phase, from_step=max(min(above, len(timesteps) - 1), 1))
        exact.append(phase)
    return replace(recipe, later_phases=tuple(exact))


def _cutoff(sampler: Any, share: float) -> int:
    """The training step at that share of the way from noise to picture; diffusers' `denoising_end`."""
    train_steps = int(sampler.config.num_train_timesteps)
    return round(train_steps - share * train_steps)


def _steps_left(sampler: Any, phase: Phase) -> Tensor:
    """As diffusers' `denoising_start` counts: of second-order samplers no step is taken by half."""
    timesteps: Tensor = sampler.timesteps
    below = int((timesteps < _cutoff(sampler, phase.from_share or 0.0)).sum())
    below += 1 if sampler.order == 2 and below % 2 == 0 else 0
    first = len(timesteps) - min(max(below, 1), len(timesteps))
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(first)
    return timesteps[first:]


def _timesteps(sampler: Any, recipe: Recipe) -> Tensor:
    """Those still to be taken; the sampler is told where it starts."""
    first = (recipe.steps - recipe.steps_taken) * sampler.order
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(first)
    left: Tensor = sampler.timesteps[first:]
    return left


def _starts_from_noise(recipe: Recipe) -> bool:
    return recipe.task is Task.TEXT_TO_IMAGE or (recipe.task is Task.INPAINT and recipe.strength == 1.0)


def _starts_from_a_picture(canvas: Canvas) -> bool:
    """Whose latents are needed: to start from, or to be put back where no inpainting UNet knows of them."""
    if canvas.recipe.task is Task.INPAINT and not canvas.checkpoint.inpaints:
        return True
    return not _starts_from_noise(canvas.recipe)


def first_latents(canvas: Canvas) -> Tensor:
    """Nothing but noise, as strong as the sampler begins with; or the picture under noise."""
    if canvas.image_latents is None or _starts_from_noise(canvas.recipe):
        return canvas.noise * float(canvas.sampler.init_noise_sigma)
    return noised(canvas.sampler, canvas.image_latents, canvas.noise, canvas.timesteps[:1])
