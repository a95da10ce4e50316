"""Paints a recipe with controls by diffusers' own ControlNet pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import torch

from sdxl_gateway.core.picture import Inputs, Picture
from sdxl_gateway.core.recipe import Control, Recipe, Task, control_role
from tests.kit.device import DEVICE
from tests.kit.reference import SAMPLERS, Reference, image_of

PIPELINES = {
    Task.TEXT_TO_IMAGE: "StableDiffusionXLControlNet{}Pipeline",
    Task.IMAGE_TO_IMAGE: "StableDiffusionXLControlNet{}Img2ImgPipeline",
    Task.INPAINT: "StableDiffusionXLControlNet{}InpaintPipeline",
}


class ControlReference:
    """`models` are diffusers' ControlNets by digest; a recipe may use either only unions or none."""

    def __init__(self, plain: Reference, models: Mapping[str, Any]) -> None:
        self._plain = plain
        self._models = models

    def paint(self, recipe: Recipe, inputs: Inputs, index: int = 0) -> Picture:
        found = self.pipeline(recipe)(
            prompt=recipe.prompt,
            negative_prompt=recipe.negative_prompt or None,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(recipe.seed + index),
            **control_arguments(recipe, inputs),
        ).images[0]
        return Picture(found.width, found.height, "RGB", found.tobytes())

    def pipeline(self, recipe: Recipe) -> Any:
        """A pipeline with the recipe's ControlNets and sampler, and everything else from the plain one."""
        base, controls = self._plain.base, recipe.controls
        kind, options = SAMPLERS[recipe.sampler]
        components = {
            **base.components,
            "scheduler": getattr(diffusers, kind).from_config(base.scheduler.config, **options),
            "controlnet": _one_or_all([self._models[control.digest] for control in controls]),
        }
        name = PIPELINES[recipe.task].format("Union" if _union(controls) else "")
        zeros = base.config.force_zeros_for_empty_prompt
        pipeline = getattr(diffusers, name)(**components, force_zeros_for_empty_prompt=zeros).to(DEVICE)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def control_arguments(recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
    """The pipeline's arguments for the controls, and for the input pictures."""
    controls = recipe.controls
    return {
        "controlnet_conditioning_scale": _one_or_all([float(control.weight) for control in controls]),
        "control_guidance_start": _one_or_all([control.start for control in controls]),
        "control_guidance_end": _one_or_all([control.end for control in controls]),
        **_pictures(recipe, inputs, union=_union(controls)),
        **_modes(controls, union=_union(controls)),
    }


def _union(controls: Sequence[Control]) -> bool:
    return controls[0].mode is not None


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _modes(controls: Sequence[Control], *, union: bool) -> dict[str, Any]:
    return {"control_mode": _one_or_all([control.mode for control in controls])} if union else {}


def _pictures(recipe: Recipe, inputs: Inputs, *, union: bool) -> dict[str, Any]:
    roles = [control_role(i) for i in range(len(recipe.controls))]
    shown = _one_or_all([image_of(inputs.pictures[role]) for role in roles])
    size = {"width": recipe.paint_width, "height": recipe.paint_height}
    if recipe.task is Task.TEXT_TO_IMAGE:
        return {"control_image" if union else "image": shown, **size}
    given = {"image": image_of(inputs.image), "control_image": shown, "strength": recipe.strength, **size}
    return given | ({"mask_image": image_of(inputs.mask)} if recipe.task is Task.INPAINT else {})
