"""Takes an Ask, gives a Recipe with everything decided and the pixels it starts from, or refuses naming the field."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from PIL import Image

from sdxl_gateway.admission.blends import asked_loras, blend_of, check_count, recommendations, with_triggers
from sdxl_gateway.admission.model_names import ModelResolver, Named, ResolvedModel
from sdxl_gateway.admission.prompts.lora_tags import cut_prompt_tags
from sdxl_gateway.admission.sizes import Sizes, asked_size, native_size, own_size, paint_size
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import CheckedLora, LoraCatalog
from sdxl_gateway.catalog.lora_folder.sidecar import Defaults
from sdxl_gateway.catalog.model_grammar import lora_not_found
from sdxl_gateway.config import Checkpoint, Settings
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.errors import AdapterRefused, InvalidImage, InvalidRequest, ModelNotFound
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Blend, Recipe, Task
from sdxl_gateway.core.samplers import SAMPLERS, sampler_name
from sdxl_gateway.core.text import shown
from sdxl_gateway.pictures.decode import Decoded, as_picture, cover, decode

STEPS = 30
GUIDANCE_SCALE = 5.0
SAMPLER = "euler"
EDIT_STRENGTH = 0.8
VARIATION_STRENGTH = 0.6
LAST_SEED = 2**32 - 1
AUTO = "auto"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept:
    """The upload and its mask at output size, for the region an inpaint must not change.

    That is the upload itself where its size is handed out, else resized (Lanczos), cut evenly where its aspect differs.
    """

    original: Picture
    mask: Picture


@dataclass(frozen=True, slots=True)
class ResolvedAsk:
    """`inputs` are at paint size; `kept` only for an inpaint."""

    recipe: Recipe
    inputs: Inputs
    kept: Kept | None
    quality: str
    loras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """An Ask whose names are looked up and whose uploads are decoded."""

    ask: Ask
    chosen: ResolvedModel
    prompt: str
    blend: Blend
    adapters: Sequence[CheckedLora]
    decoded: Decoded | None

    @property
    def recommended(self) -> list[Defaults]:
        return recommendations(self.blend, self.adapters)


class Admission:
    """Resolves against the catalogues; touches no engine."""

    def __init__(self, settings: Settings, checkpoints: Mapping[str, CheckpointEntry], adapters: LoraCatalog):
        self._settings = settings
        self._checkpoints = checkpoints
        self._adapters = adapters
        self._decoding = asyncio.Semaphore(2)
        self.names = ModelResolver(settings, checkpoints, adapters)

    async def admit(self, ask: Ask) -> ResolvedAsk:
        """Raises a Refusal; nothing was submitted then."""
        prompt, tagged = self._prompt(ask)
        chosen = self.names.choose(ask.model)
        parts = (*chosen.parts, *asked_loras(ask.loras), *tagged)
        check_count(parts, self._settings.loras.max_per_request)
        adapters = [await self._adapter(named, chosen.checkpoint) for named in parts]
        decoded = await self._decoded(ask)
        resolved = _LookedUp(ask, chosen, prompt, blend_of(parts, adapters), adapters, decoded)
        sizes = self._sizes(resolved)
        recipe = self._recipe(resolved, sizes)
        inputs, kept = await asyncio.to_thread(_pixels, decoded, sizes)
        names = tuple(dict.fromkeys(adapter.entry.name for adapter in adapters))
        return ResolvedAsk(recipe, inputs, kept, ask.quality or "medium", names)

    def _prompt(self, ask: Ask) -> tuple[str, tuple[Named, ...]]:
        if not self._settings.loras.prompt_tags:
            return ask.prompt, ()
        prompt, parts = cut_prompt_tags(ask.prompt)
        return prompt, tuple(Named(part, "prompt") for part in parts)

    async def _adapter(self, named: Named, checkpoint: CheckpointEntry) -> CheckedLora:
        try:
            return await self._adapters.admit(named.part.name, checkpoint)
        except ModelNotFound as error:
            if named.param == "model":
                raise
            message = lora_not_found(error, param=named.param).message
            raise InvalidRequest(message, param=named.param, code="lora_not_found") from error
        except AdapterRefused as error:
            message = f"The LoRA {shown(named.part.name)} cannot be used: {error.message}"
            raise AdapterRefused(message, param=named.param, code=error.code) from error

    async def _decoded(self, ask: Ask) -> Decoded | None:
        if not ask.images:
            return None
        if len(ask.images) > 1:
            raise InvalidImage("This server edits one image a request.", param=ask.images[1].field)
        async with self._decoding:
            decoded = await asyncio.to_thread(decode, ask.images[0], ask.mask, self._settings.limits)
        # A variation is a new picture all over: holes in its model mean nothing.
        return replace(decoded, mask=None) if ask.operation is Operation.VARY else decoded

    def _sizes(self, resolved: _LookedUp) -> Sizes:
        ask, checkpoint = resolved.ask, resolved.chosen.checkpoint
        limit, usual = self._settings.limits.max_pixels, resolved.chosen.style.size
        if ask.size is not None:
            size = asked_size(ask.size, limit)
        elif resolved.decoded is not None:
            size = own_size(*resolved.decoded.image.size, limit, field=ask.images[0].field)
        elif usual is not None and usual != AUTO:
            size = asked_size(usual, limit)
        else:
            size = native_size(checkpoint, limit)
        return paint_size(*size, checkpoint)

    def _recipe(self, resolved: _LookedUp, sizes: Sizes) -> Recipe:
        ask, chosen, recommended = resolved.ask, resolved.chosen, resolved.recommended
        section = self._settings.checkpoints[chosen.checkpoint.name]
        task = Task.TEXT_TO_IMAGE if resolved.decoded is None else resolved.decoded.task
        return Recipe(
            task=task,
            checkpoint=chosen.checkpoint.name,
            checkpoint_digest=chosen.checkpoint.digest,
            blend=resolved.blend,
            prompt=with_triggers(resolved.prompt, chosen.style, recommended),
            negative_prompt=_first("", ask.negative_prompt, chosen.style.negative_prompt),
            width=sizes.width,
            height=sizes.height,
            paint_width=sizes.paint_width,
            paint_height=sizes.paint_height,
            steps=self._steps(resolved, section),
            guidance_scale=_first(
                GUIDANCE_SCALE,
                ask.guidance_scale,
                chosen.style.guidance_scale,
                *(one.guidance_scale for one in recommended),
                section.guidance_scale,
            ),
            sampler=_sampler(resolved, section),
            seed=ask.seed if ask.seed is not None else secrets.randbelow(LAST_SEED - ask.n),
            count=ask.n,
            strength=_strength(ask, task),
            partial_images=ask.partial_images,
        )

    def _steps(self, resolved: _LookedUp, section: Checkpoint) -> int:
        """As asked; else what the style, a LoRA or the checkpoint usually takes, scaled by the quality."""
        ask, most = resolved.ask, self._settings.limits.max_steps
        if ask.steps is not None:
            return min(ask.steps, most)
        usual = _first(STEPS, resolved.chosen.style.steps, *(one.steps for one in resolved.recommended), section.steps)
        shares = self._settings.quality
        share = {"low": shares.low, "high": shares.high, "max": shares.max}.get(ask.quality or "", shares.medium)
        return min(max(round(usual * share), 1), most)


def _strength(ask: Ask, task: Task) -> float:
    if task is Task.TEXT_TO_IMAGE:
        return 1.0
    usual = VARIATION_STRENGTH if ask.operation is Operation.VARY else EDIT_STRENGTH
    return _first(1.0 if task is Task.INPAINT else usual, ask.strength)


def _sampler(resolved: _LookedUp, section: Checkpoint) -> str:
    """A LoRA's side-car may name one that is not served: nobody's request shall fail for it."""
    if resolved.ask.sampler is not None:
        return _asked_sampler(resolved.ask.sampler)
    recommended = (sampler_name(one.sampler or "") for one in resolved.recommended)
    return _first(SAMPLER, resolved.chosen.style.sampler, *recommended, section.sampler)


def _asked_sampler(text: str) -> str:
    name = sampler_name(text)
    if name is None:
        choices = ", ".join(SAMPLERS)
        raise InvalidRequest(f"Invalid value: {shown(text)}. Supported values are: {choices}.", param="sampler")
    return name


def _first(otherwise: T, *said: T | None) -> T:
    """What was said first, else the last resort."""
    return next((value for value in said if value is not None), otherwise)


def _pixels(decoded: Decoded | None, sizes: Sizes) -> tuple[Inputs, Kept | None]:
    if decoded is None:
        return NO_INPUTS, None
    image = _image_at(sizes.paint_width, sizes.paint_height, decoded.image)
    if decoded.mask is None:
        return Inputs(image), None
    mask = _mask_at(sizes.paint_width, sizes.paint_height, decoded.mask)
    width, height = sizes.width, sizes.height
    return Inputs(image, mask), Kept(_image_at(width, height, decoded.image), _mask_at(width, height, decoded.mask))


def _image_at(width: int, height: int, image: Image.Image) -> Picture:
    return as_picture(cover(image, width, height, Image.Resampling.LANCZOS))


def _mask_at(width: int, height: int, mask: Image.Image) -> Picture:
    return as_picture(cover(mask, width, height, Image.Resampling.NEAREST))
