"""Takes an Ask, gives a Recipe with everything decided and the pixels it starts from, or refuses naming the field."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from PIL import Image

from sdxl_gateway.catalog.adapters import AdapterCatalog, AdmittedAdapter
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.names import Part, checked_weight, cut_prompt_tags, shown
from sdxl_gateway.catalog.sidecar import Defaults
from sdxl_gateway.config import Checkpoint, Settings
from sdxl_gateway.core.ask import Ask, LoraAsk, Operation
from sdxl_gateway.core.errors import AdapterRefused, InvalidImage, InvalidRequest, ModelNotFound
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe, Task
from sdxl_gateway.core.samplers import SAMPLERS, sampler_name
from sdxl_gateway.gate.inputs import Decoded, as_picture, cover, decode
from sdxl_gateway.gate.models import Chosen, ModelNames, Named, check_count
from sdxl_gateway.gate.sizes import Sizes, asked_size, native_size, paint_size, within

STEPS = 30
GUIDANCE_SCALE = 5.0
SAMPLER = "euler"
EDIT_STRENGTH = 0.8
VARIATION_STRENGTH = 0.6
LAST_SEED = 2**32 - 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept:
    """The upload and its mask at output size, for the region an inpaint must not change."""

    original: Picture
    mask: Picture


@dataclass(frozen=True, slots=True)
class Admitted:
    """`inputs` are at paint size; `kept` only where the upload's own size is handed out."""

    recipe: Recipe
    inputs: Inputs
    kept: Kept | None
    quality: str
    loras: tuple[str, ...]


class Gate:
    """Resolves against the catalogues; touches no engine."""

    def __init__(self, settings: Settings, checkpoints: Mapping[str, CheckpointEntry], adapters: AdapterCatalog):
        self._settings = settings
        self._checkpoints = checkpoints
        self._adapters = adapters
        self._decoding = asyncio.Semaphore(2)
        self.names = ModelNames(settings, checkpoints, adapters)

    async def admit(self, ask: Ask) -> Admitted:
        """Raises a Refusal; nothing was submitted then."""
        prompt, tagged = self._prompt(ask)
        chosen = self.names.choose(ask.model)
        parts = (*chosen.parts, *_asked_loras(ask.loras), *tagged)
        check_count(parts, self._settings.loras.max_per_request)
        adapters = [await self._adapter(named, chosen.checkpoint) for named in parts]
        told = [adapter.entry.defaults for adapter in adapters]
        blend = _blend(parts, adapters)
        decoded = await self._decoded(ask)
        sizes = self._sizes(ask, chosen, decoded)
        recipe = self._recipe(ask, chosen, told, blend, _with_triggers(prompt, chosen, told), sizes, decoded)
        names = tuple(adapter.entry.name for adapter in adapters)
        inputs, kept = await asyncio.to_thread(_pixels, decoded, sizes)
        return Admitted(recipe, inputs, kept, ask.quality or "medium", names)

    def _prompt(self, ask: Ask) -> tuple[str, tuple[Named, ...]]:
        if not self._settings.loras.prompt_tags:
            return ask.prompt, ()
        prompt, parts = cut_prompt_tags(ask.prompt)
        return prompt, tuple(Named(part, "prompt") for part in parts)

    async def _adapter(self, named: Named, checkpoint: CheckpointEntry) -> AdmittedAdapter:
        try:
            return await self._adapters.admit(named.part.name, checkpoint)
        except ModelNotFound as error:
            if named.param == "model":
                raise
            raise InvalidRequest(error.message, param=named.param, code="lora_not_found") from error
        except AdapterRefused as error:
            message = f"The LoRA {shown(named.part.name)} cannot be used: {error.message}"
            raise AdapterRefused(message, param=named.param) from error

    async def _decoded(self, ask: Ask) -> Decoded | None:
        if not ask.images:
            return None
        if len(ask.images) > 1:
            raise InvalidImage("This server edits one image a request.", param=ask.images[1].field)
        async with self._decoding:
            return await asyncio.to_thread(decode, ask.images[0], ask.mask, self._settings.limits)

    def _sizes(self, ask: Ask, chosen: Chosen, decoded: Decoded | None) -> Sizes:
        limit = self._settings.limits.max_pixels
        if ask.size is not None:
            size = asked_size(ask.size, limit)
        elif decoded is not None:
            size = within(*decoded.image.size, limit)
        elif chosen.style.size is not None:
            size = asked_size(chosen.style.size, limit)
        else:
            size = native_size(chosen.checkpoint)
        return paint_size(*size, chosen.checkpoint)

    def _recipe(
        self,
        ask: Ask,
        chosen: Chosen,
        told: list[Defaults],
        blend: Blend,
        prompt: str,
        sizes: Sizes,
        decoded: Decoded | None,
    ) -> Recipe:
        section = self._settings.checkpoints[chosen.checkpoint.name]
        style = chosen.style
        task = _task(ask, decoded)
        sampler = _sampler(ask, chosen, told, section)
        return Recipe(
            task=task,
            checkpoint=chosen.checkpoint.name,
            checkpoint_digest=chosen.checkpoint.digest,
            blend=blend,
            prompt=prompt,
            negative_prompt=ask.negative_prompt if ask.negative_prompt is not None else style.negative_prompt or "",
            width=sizes.width,
            height=sizes.height,
            paint_width=sizes.paint_width,
            paint_height=sizes.paint_height,
            steps=self._steps(ask, chosen, told, section),
            guidance_scale=_first(
                ask.guidance_scale, style.guidance_scale, *_told(told, lambda one: one.guidance_scale),
                section.guidance_scale, GUIDANCE_SCALE,
            ),
            sampler=sampler,
            seed=ask.seed if ask.seed is not None else secrets.randbelow(LAST_SEED - ask.n),
            count=ask.n,
            strength=_strength(ask, task),
            partial_images=ask.partial_images,
        )  # fmt: skip

    def _steps(self, ask: Ask, chosen: Chosen, told: list[Defaults], section: Checkpoint) -> int:
        """As asked; else as the style or a LoRA recommends; else the checkpoint's own, scaled by the quality."""
        fixed = _first_or_none(ask.steps, chosen.style.steps, *_told(told, lambda one: one.steps))
        if fixed is not None:
            return fixed
        shares = self._settings.quality
        share = {"low": shares.low, "high": shares.high, "max": shares.max}.get(ask.quality or "", shares.medium)
        return min(max(round((section.steps or STEPS) * share), 1), self._settings.limits.max_steps)


def _asked_loras(loras: tuple[LoraAsk, ...]) -> tuple[Named, ...]:
    return tuple(
        Named(Part(lora.name, lora.weight, lora.text_encoder_weight), f"loras[{i}]") for i, lora in enumerate(loras)
    )


def _blend(parts: tuple[Named, ...], adapters: list[AdmittedAdapter]) -> Blend:
    return Blend.of([_part(named, adapter) for named, adapter in zip(parts, adapters, strict=True)])


def _part(named: Named, adapter: AdmittedAdapter) -> BlendPart:
    """The caller's weights, else the LoRA's own; the encoders follow the UNet unless somebody said otherwise."""
    told, asked = adapter.entry.defaults, named.part
    weight = checked_weight(_first(asked.weight, told.weight, 1.0), param=named.param)
    own = told.text_encoder_weight if asked.weight is None else None
    text = checked_weight(_first(asked.text_encoder_weight, own, weight), param=named.param)
    return BlendPart(adapter.digest, weight, text, adapter.entry.name)


def _with_triggers(prompt: str, chosen: Chosen, told: list[Defaults]) -> str:
    words = [word for one in told if one.add_trigger_words for word in one.trigger_words]
    if chosen.style.add_trigger_words and chosen.style.trigger_words:
        words.append(chosen.style.trigger_words)
    missing = [word for word in dict.fromkeys(words) if word.lower() not in prompt.lower()]
    return ", ".join([*missing, prompt] if prompt else missing)


def _task(ask: Ask, decoded: Decoded | None) -> Task:
    if decoded is None:
        return Task.TEXT_TO_IMAGE
    inpaints = ask.operation is Operation.EDIT and decoded.mask is not None
    return Task.INPAINT if inpaints else Task.IMAGE_TO_IMAGE


def _strength(ask: Ask, task: Task) -> float:
    if task is Task.TEXT_TO_IMAGE:
        return 1.0
    usual = VARIATION_STRENGTH if ask.operation is Operation.VARY else EDIT_STRENGTH
    return ask.strength if ask.strength is not None else 1.0 if task is Task.INPAINT else usual


def _sampler(ask: Ask, chosen: Chosen, told: list[Defaults], section: Checkpoint) -> str:
    text = _first_or_none(ask.sampler, chosen.style.sampler, *_told(told, lambda one: one.sampler), section.sampler)
    name = sampler_name(text or SAMPLER)
    if name is None:
        choices = ", ".join(SAMPLERS)
        raise InvalidRequest(f"Invalid value: {shown(text or '')}. Supported values are: {choices}.", param="sampler")
    return name


def _told(told: list[Defaults], what: Callable[[Defaults], T | None]) -> list[T | None]:
    return [what(one) for one in told]


def _first(*values: T | None) -> T:
    found = _first_or_none(*values)
    if found is None:
        raise ValueError("no default")
    return found


def _first_or_none(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def _pixels(decoded: Decoded | None, sizes: Sizes) -> tuple[Inputs, Kept | None]:
    if decoded is None:
        return NO_INPUTS, None
    fit = partial(cover, width=sizes.paint_width, height=sizes.paint_height)
    image = as_picture(fit(decoded.image, resample=Image.Resampling.LANCZOS))
    if decoded.mask is None:
        return Inputs(image), None
    mask = as_picture(fit(decoded.mask, resample=Image.Resampling.NEAREST))
    if decoded.image.size != (sizes.width, sizes.height):
        return Inputs(image, mask), None
    return Inputs(image, mask), Kept(as_picture(decoded.image), as_picture(decoded.mask))
