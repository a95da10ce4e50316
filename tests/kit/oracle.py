"""Paints any recipe by diffusers' own pipelines, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sdxl_gateway.config import IpAdapter
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.engine.latents import zero_to_one
from tests.kit.control_reference import ControlReference, control_arguments
from tests.kit.reference import Reference, pictures_of, steps_of, texts_of, told_as, until_guidance_ends
from tests.kit.spelt_chunks import Chunk, told
from tests.kit.upscaler_files import Weights, computed

NET_SCALE = 4
Spelt = Mapping[str, Sequence[Chunk]]
"""Prompts that diffusers cannot parse, each with its chunks."""


@dataclass
class Oracle:
    """Caches pipelines by what is loaded into them; files are found by the digests in recipes.

    `checkpoints` open a pipeline by name, `controls` are diffusers' own models.
    """

    checkpoints: Mapping[str, Callable[[], Reference]]
    files: Mapping[str, Path]
    controls: Mapping[str, Any]
    adapters: Mapping[str, IpAdapter]
    nets: Mapping[str, Weights]
    spelt: Spelt = field(default_factory=dict)
    _opened: dict[Any, Reference] = field(default_factory=dict)
    _painted: dict[Any, Picture] = field(default_factory=dict)

    def paint(self, recipe: Recipe, inputs: Inputs = NO_INPUTS) -> Picture:
        """The picture; each is painted only once."""
        key = (recipe, inputs.digests)
        if key not in self._painted:
            self._painted[key] = self._paint(recipe, inputs)
        return self._painted[key]

    def _paint(self, recipe: Recipe, inputs: Inputs) -> Picture:
        """By one pipeline, or two with a refiner; enlarged by an upscaler's net as in its paper."""
        if recipe.upscaler:
            return _enlarged(self.paint(replace(recipe, upscaler=""), inputs), self.nets[recipe.upscaler])
        own = self._reference(recipe)
        set_to = {**steps_of(recipe), **_numbers(recipe)}
        first = {**set_to, **self._texts(own, recipe), **self._pictures(own, recipe, inputs)}
        pipeline = self._pipeline(own, recipe)
        first |= until_guidance_ends(pipeline, recipe)
        if not recipe.later_phases:
            return _picture(pipeline(**first))
        (phase,) = recipe.later_phases
        latents = pipeline(**first, denoising_end=phase.from_share, output_type="latent").images
        its = self._reference(replace(recipe, checkpoint=phase.checkpoint, blend=phase.blend, image_prompt=None))
        task = Task.INPAINT if _kept_by_the_refiner(own, recipe) else Task.IMAGE_TO_IMAGE
        second = {"image": latents, "denoising_start": phase.from_share, **set_to, **self._texts(its, recipe)}
        if task is Task.INPAINT:
            given = pictures_of(recipe, inputs)
            second |= {name: given[name] for name in ("mask_image", "width", "height")}
        return _picture(its._pipeline(replace(recipe, task=task))(**second))

    def _pipeline(self, own: Reference, recipe: Recipe) -> Any:
        if not recipe.controls:
            return own._pipeline(recipe)
        return ControlReference(own, self.controls).pipeline(recipe)

    def _pictures(self, own: Reference, recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
        guiding = own._references(recipe, inputs)
        if not recipe.controls:
            return pictures_of(recipe, inputs) | guiding
        return control_arguments(recipe, inputs) | guiding

    def _texts(self, reference: Reference, recipe: Recipe) -> Mapping[str, Any]:
        if recipe.prompt not in self.spelt:
            return texts_of(recipe)
        positive = told(reference.base, self.spelt[recipe.prompt], clip_skip=recipe.reading.clip_skip)
        return told_as(positive, told(reference.base, self.spelt[recipe.negative_prompt]))

    def _reference(self, recipe: Recipe) -> Reference:
        """The pipeline with everything loaded that the recipe names; opened once."""
        adapter = None if recipe.image_prompt is None else recipe.image_prompt.adapter
        key = (recipe.checkpoint, recipe.blend.unet_key, recipe.reading.embeddings, adapter)
        if key not in self._opened:
            self._opened[key] = self._loaded(recipe, adapter)
        return self._opened[key]

    def _loaded(self, recipe: Recipe, adapter: str | None) -> Reference:
        reference = self.checkpoints[recipe.checkpoint]()
        if adapter is not None:
            reference.load_ip_adapter(self.adapters[adapter])
        for word, digest in recipe.reading.embeddings:
            reference.load_word(word, load_file(self.files[digest]))
        for part in recipe.blend.parts:
            reference.base.load_lora_weights(self.files[part.digest], adapter_name=f"a{part.digest[:8]}")
        names = [f"a{part.digest[:8]}" for part in recipe.blend.parts]
        if names:
            reference.base.set_adapters(names, [part.weight for part in recipe.blend.parts])
        return reference


def _numbers(recipe: Recipe) -> dict[str, Any]:
    """Without `guidance_rescale` unless it is used, because some pipelines do not have it."""
    rescaled = {"guidance_rescale": recipe.guidance_rescale} if recipe.guidance_rescale else {}
    generator = torch.Generator("cpu").manual_seed(recipe.seed)
    return {"guidance_scale": recipe.guidance_scale, "eta": recipe.eta, "generator": generator, **rescaled}


def _kept_by_the_refiner(own: Reference, recipe: Recipe) -> bool:
    """Whether the refiner restores the picture's latents outside of the mask; after nine channels they are painted."""
    return recipe.task is Task.INPAINT and own.base.unet.config.in_channels == 4


def _enlarged(picture: Picture, net: Weights) -> Picture:
    found = computed(net, NET_SCALE, zero_to_one(picture)).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0)
    height, width, _ = found.shape
    return Picture(width, height, "RGB", found.to(torch.uint8).numpy().tobytes())


def _picture(found: Any) -> Picture:
    image = found.images[0]
    return Picture(image.width, image.height, "RGB", image.tobytes())
