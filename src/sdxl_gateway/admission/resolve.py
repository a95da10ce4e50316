"""Resolves an Ask to a Recipe with everything decided, and decodes the pictures it starts from."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from sdxl_gateway.admission.backgrounds import matte_digest, matte_warnings
from sdxl_gateway.admission.blends import blend_of, check_count, recommendations
from sdxl_gateway.admission.controls import ControlResolver, maps_of
from sdxl_gateway.admission.defaults import Usual, known_of, strength
from sdxl_gateway.admission.few_steps import few_steps_warnings
from sdxl_gateway.admission.framing import Framed, Framing, framed
from sdxl_gateway.admission.model_names import ModelResolver, ResolvedModel
from sdxl_gateway.admission.prompts.lora_tags import cut_prompt_tags, refuse_tags
from sdxl_gateway.admission.prompts.texts import TextReader, Texts
from sdxl_gateway.admission.references import Guide, References
from sdxl_gateway.admission.refiner import Refiners, refiner_warnings
from sdxl_gateway.admission.replay import arm_again, check_lora, check_replay, checkpoint_gone
from sdxl_gateway.admission.rollouts import Over, decided, nothing_over, sticky
from sdxl_gateway.admission.sampling import chosen_eta, chosen_sampling, without_effect
from sdxl_gateway.admission.sizes import Sizes, check_area, native_size, own_size, paint_size
from sdxl_gateway.admission.uploads import Uploads
from sdxl_gateway.admission.upscaling import Upscaling
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.checks import CheckedLora
from sdxl_gateway.catalog.side_models import SideModels
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask, LoraRef
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import AdapterRefused, InvalidRequest, ModelNotFound, RecipeChanged, Refusal
from sdxl_gateway.core.picture import Inputs, KeptRegion, Size
from sdxl_gateway.core.ports import Matte
from sdxl_gateway.core.recipe import Blend, Recipe, Task
from sdxl_gateway.core.text import shown
from sdxl_gateway.decoding.pool import Decoders
from sdxl_gateway.pictures.decode import Decoded

LAST_SEED = 2**32 - 1
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ResolvedAsk:
    """`inputs` are at paint size; `kept` only for an inpaint; `loras` are the names of those put on.

    `warnings` are about what cannot be painted as it was asked.
    """

    recipe: Recipe
    inputs: Inputs
    kept: KeptRegion | None
    quality: str
    loras: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """An Ask with its names looked up and its uploads decoded."""

    ask: Ask
    model: ResolvedModel
    texts: Texts
    blend: Blend
    usual: Usual
    decoded: Decoded | None
    guide: Guide

    @property
    def task(self) -> Task:
        return Task.TEXT_TO_IMAGE if self.decoded is None else self.decoded.task


class Admission:
    """Resolves Asks by the catalogues; engines are not involved."""

    def __init__(
        self,
        settings: Settings,
        checkpoints: Mapping[str, CheckpointEntry],
        loras: LoraCatalog,
        decoders: Decoders,
        embeddings: EmbeddingCatalog | None = None,
        beside: SideModels | None = None,
        matte: Matte | None = None,
        over: Over = nothing_over,
    ) -> None:
        self._settings = settings
        self._loras = loras
        self._texts = TextReader(settings, embeddings)
        self._beside = beside or SideModels.open(settings)
        self._controls = ControlResolver(self._beside.controls)
        self._matte = matte
        self._upscaling = Upscaling(self._beside.upscalers, settings.limits.max_upscaled_pixels)
        self.uploads = Uploads(settings.limits, decoders)
        self._references = References(settings, self.uploads)
        self.refiners = Refiners(checkpoints, settings.checkpoints)
        self.names = ModelResolver(settings, checkpoints, loras, over=over)

    def with_settings(self, settings: Settings, names: ModelResolver) -> Admission:
        """The same with other settings; the uploads of both share their limits."""
        other = copy(self)
        other._settings, other.names = settings, names
        other.uploads = self.uploads.with_limits(settings.limits)
        other._texts = self._texts.with_settings(settings)
        other._upscaling = self._upscaling.with_max_pixels(settings.limits.max_upscaled_pixels)
        other._references = References(settings, other.uploads)
        return other

    def seen_by(self, caller: Caller) -> Admission:
        """Admission as the caller sees it, who may use only some models and LoRAs."""
        if caller.sees_everything:
            return self
        other = copy(self)
        other._loras = self._loras.only(caller.loras)
        other.names = self.names.only(caller.sees_model, other._loras)
        other.refiners = self.refiners.only(caller.sees_model)
        return other

    def with_arm(self, ask: Ask, caller: Caller) -> Ask:
        """The Ask with its arm chosen, if it asks for a rollout and none was chosen before."""
        if ask.arm is not None or not self.names.rollouts:
            return ask
        try:
            return replace(ask, arm=self.names.by(sticky(ask, caller)).choose(ask.model).arm)
        except Refusal:
            return ask  # whoever resolves it says why

    async def resolve(self, ask: Ask) -> ResolvedAsk:
        """Raises a Refusal."""
        await asyncio.to_thread(self._beside.refresh)
        prompt, tagged = self._without_tags(ask)
        with checkpoint_gone(ask):
            model = (self.names if ask.arm is None else self.names.by(decided(ask.arm))).choose(ask.model)
        ask, warnings = self._references.usable(ask, model.checkpoint.ip_adapter)
        refs = (*model.loras, *ask.loras, *tagged)
        check_count(refs, self._settings.loras.max_per_request)
        checked = [await self._checked(ref, model.checkpoint) for ref in refs]
        controls = self._controls.resolve(ask.controls, model.checkpoint)
        async with self.uploads.turn(ask):
            decoded = await self.uploads.edited(ask)
            guide = await self._references.guide(ask, model.checkpoint.ip_adapter)
            looked_up = await self._looked_up(ask, model, prompt, refs, checked, decoded, guide)
            frame = await self._framed(looked_up)
            maps = await maps_of(ask.controls, controls, self.uploads, frame)
            inputs = Inputs({**frame.inputs.pictures, **guide.pictures, **maps.pictures})
            recipe = replace(self._recipe(looked_up, frame), controls=controls, inputs=inputs.digests)
        recipe = replace(recipe, later_phases=self.refiners.phases(ask, recipe))
        check_replay(ask.replay, recipe)
        recipe, warned = arm_again(ask.replay, recipe, self.names, self._loras)
        names = tuple(dict.fromkeys(lora.entry.name for lora in checked))
        warnings = (*warnings, *warned, *maps.warnings, *looked_up.texts.warnings, *_shrunk(looked_up, frame.sizes))
        warnings += (*few_steps_warnings(ask, looked_up.usual, recipe), *without_effect(ask, recipe))
        warnings += (*refiner_warnings(ask, recipe), *matte_warnings(recipe, self._matte))
        return ResolvedAsk(recipe, inputs, frame.kept, ask.quality or "medium", names, warnings)

    async def _looked_up(
        self,
        ask: Ask,
        model: ResolvedModel,
        prompt: str,
        refs: Sequence[LoraRef],
        checked: Sequence[CheckedLora],
        decoded: Decoded | None,
        guide: Guide,
    ) -> _LookedUp:
        blend = blend_of(refs, checked)
        section = self._settings.checkpoints.get(model.checkpoint.name, model.checkpoint.section)
        known = known_of(model.checkpoint.name, section)
        usual = Usual(model.style, tuple(recommendations(blend, checked)), section, known)
        texts = await self._texts.read(ask, prompt, usual, model.checkpoint)
        return _LookedUp(ask, model, texts, blend, usual, decoded, guide)

    async def _checked(self, ref: LoraRef, checkpoint: CheckpointEntry) -> CheckedLora:
        try:
            found = await self._loras.check_in(ref.name, checkpoint)
        except ModelNotFound as error:
            if ref.param == "model":
                raise
            if ref.digest is not None:
                raise RecipeChanged(error.message, param=ref.param) from error
            raise InvalidRequest(error.message, param=ref.param, code="lora_not_found") from error
        except AdapterRefused as error:
            message = f"The LoRA {shown(ref.name)} cannot be used: {error.message}"
            raise AdapterRefused(message, param=ref.param, code=error.code) from error
        check_lora(ref, found.digest)
        return found

    def _without_tags(self, ask: Ask) -> tuple[str, tuple[LoraRef, ...]]:
        if not self._settings.loras.prompt_tags:
            return ask.prompt, ()
        refuse_tags(ask.negative_prompt or "", param="negative_prompt")
        return cut_prompt_tags(ask.prompt)

    def _sizes(self, looked_up: _LookedUp) -> Sizes:
        ask, checkpoint = looked_up.ask, looked_up.model.checkpoint
        limit, usual = self._settings.limits.max_pixels, looked_up.model.style.size
        if ask.size is not None:
            size = check_area(ask.size, limit)
        elif looked_up.decoded is not None:
            most = limit if looked_up.task is not Task.INPAINT else max(limit, self._settings.limits.max_inpaint_pixels)
            size = own_size(Size(*looked_up.decoded.image.size), most, field=ask.images[0].field)
        elif usual is not None and usual != AUTO:
            size = check_area(Size.of(usual), limit)
        else:
            size = native_size(checkpoint, limit)
        return self._upscaling.sizes(ask, paint_size(size, checkpoint), looked_up.task)

    async def _framed(self, looked_up: _LookedUp) -> Framed:
        asked = Framing(looked_up.ask.inpaint_padding, looked_up.ask.seam)
        sizes, checkpoint = self._sizes(looked_up), looked_up.model.checkpoint
        return await self.uploads.off_the_loop(framed, looked_up.decoded, sizes, checkpoint, asked)

    def _recipe(self, looked_up: _LookedUp, frame: Framed) -> Recipe:
        ask, model, usual, sizes = looked_up.ask, looked_up.model, looked_up.usual, frame.sizes
        sampler, schedule = chosen_sampling(ask, usual)
        upscaler = self._upscaling.chosen(ask, frame)
        return Recipe(
            task=looked_up.task,
            checkpoint=model.checkpoint.name,
            checkpoint_digest=model.checkpoint.digest,
            blend=looked_up.blend,
            prompt=looked_up.texts.prompt,
            negative_prompt=looked_up.texts.negative_prompt,
            width=sizes.width,
            height=sizes.height,
            paint_width=sizes.paint_width,
            paint_height=sizes.paint_height,
            steps=self._steps(ask, usual),
            guidance_scale=usual.guidance_scale if ask.guidance_scale is None else ask.guidance_scale,
            sampler=sampler,
            schedule=schedule,
            eta=chosen_eta(ask, usual, sampler),
            guidance_rescale=ask.guidance_rescale or 0.0,
            guidance_end=usual.guidance_end if ask.guidance_end is None else ask.guidance_end,
            seed=ask.seed if ask.seed is not None else secrets.randbelow(LAST_SEED - ask.n),
            count=ask.n,
            strength=strength(ask, looked_up.task, guided=looked_up.guide.image_prompt is not None),
            embeds_guidance=model.checkpoint.embeds_guidance,
            padding=ask.padding,
            inpaint_padding=frame.padding,
            seam=0 if frame.kept is None else frame.kept.seam,
            reading=looked_up.texts.reading,
            image_prompt=looked_up.guide.image_prompt,
            matte=matte_digest(ask, model.style, self._matte),
            upscale=ask.upscale,
            upscaler="" if upscaler is None else upscaler.name,
            upscaler_digest="" if upscaler is None else upscaler.digest,
            detail=self._upscaling.detail(ask, frame, upscaler),
            arm=model.arm,
        )

    def _steps(self, ask: Ask, usual: Usual) -> int:
        """The steps asked for, or the default, scaled by quality unless the model was distilled for its steps."""
        most = self._settings.limits.max_steps
        if ask.steps is not None:
            return min(ask.steps, most)
        shares = self._settings.quality
        if usual.few_steps is not None and usual.few_steps.steps == usual.steps:
            return min(usual.steps, most)
        share = {"low": shares.low, "high": shares.high, "max": shares.max}.get(ask.quality or "", shares.medium)
        return min(max(round(usual.steps * share), 1), most)


def _shrunk(looked_up: _LookedUp, sizes: Sizes) -> tuple[str, ...]:
    """A warning for an upload that is returned smaller than it came, without having been asked for."""
    if looked_up.ask.size is not None or looked_up.decoded is None:
        return ()
    times = looked_up.ask.upscale
    own, handed = Size(*looked_up.decoded.image.size), Size(sizes.width // times, sizes.height // times)
    return () if own == handed else (f"Handed out as {handed}: {own} is above this server's limit.",)
