"""Takes a checkpoint and a size, gives a dummy recipe and canvas, to compile and to warm up with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import NO_BLEND, Recipe, Task
from sdxl_gateway.engine.canvas import Canvas, PartFactory
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.stages import denoise
from sdxl_gateway.engine.stages.encode import encode_text
from sdxl_gateway.engine.stages.prepare import Prepare
from sdxl_gateway.engine.unet.calls import Call


def native_side(checkpoint: Checkpoint) -> int:
    """The side of the square pictures the checkpoint was trained on, in pixels."""
    return int(checkpoint.unet.config.sample_size) * checkpoint.latent_scale


@torch.inference_mode()
def trial_canvas(checkpoint: Checkpoint, parts: Sequence[PartFactory], width: int, height: int) -> Canvas:
    """A canvas before its only step; `parts` join that step's call."""
    recipe = trial_recipe(checkpoint, width, height)
    canvas = Canvas(recipe, 0, NO_INPUTS, checkpoint)
    canvas.positive = canvas.negative = encode_text(checkpoint, recipe.prompt)
    Prepare(parts).begin(canvas)
    return canvas


@torch.inference_mode()
def call_of(canvas: Canvas) -> Call:
    """The UNet call of its next step. Raises EngineFault for one that is not made of rows alone."""
    call = denoise.unet_call([canvas])
    found = Call.of(call.sample, call.timesteps, {**call.arguments, "return_dict": False})
    if found is None:
        raise EngineFault("The UNet's call has arguments that are not tensors of one row each.")
    return found


def trial_recipe(checkpoint: Checkpoint, width: int, height: int, steps: int = 1) -> Recipe:
    """A recipe with an empty prompt and no guidance."""
    return Recipe(
        task=Task.TEXT_TO_IMAGE,
        checkpoint=checkpoint.name,
        checkpoint_digest="",
        blend=NO_BLEND,
        prompt="",
        negative_prompt="",
        width=width,
        height=height,
        paint_width=width,
        paint_height=height,
        steps=steps,
        guidance_scale=1.0,
        sampler="euler",
        seed=0,
        embeds_guidance=checkpoint.embeds_guidance,
    )
