"""The sections of what model names stand for: checkpoints, the folder of others, and house styles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from sdxl_gateway.config.prompting import PromptSyntax
from sdxl_gateway.config.section import Section
from sdxl_gateway.core.limits import CLIP_SKIP, GUIDANCE_SCALE, LORA_WEIGHT, STEPS
from sdxl_gateway.core.recipe import Background
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES, read_sampler, read_schedule


def _served(sampler: str) -> str:
    if read_sampler(sampler) is None:
        raise ValueError(f"should be one of {', '.join(map(repr, SAMPLERS))}")
    return sampler


def _schedule(text: str) -> str:
    schedule = read_schedule(text)
    if schedule is None:
        raise ValueError(f"should be one of {', '.join(map(repr, SCHEDULES))}")
    return schedule


Name = Annotated[str, StringConstraints(pattern=r"^[^+\s]+$", max_length=200)]
Size = Annotated[str, StringConstraints(pattern=r"^(auto|\d{2,4}x\d{2,4})$")]
SamplerName = Annotated[str, AfterValidator(_served)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Steps = Annotated[int, Field(ge=1, le=STEPS)]
GuidanceScale = Annotated[float, Field(ge=0, le=GUIDANCE_SCALE)]
ClipSkip = Annotated[int, Field(ge=1, le=CLIP_SKIP)]
Weight = Annotated[float, Field(ge=-LORA_WEIGHT, le=LORA_WEIGHT)]


class Checkpoint(Section):
    """A diffusers folder, a single file or a fetched Hub model, with the defaults of its pictures."""

    path: str
    config: str | None = None
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    zero_snr: bool | None = None
    native_pixels: Annotated[int, Field(ge=64 * 64)] | None = None
    steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    sampler: SamplerName | None = None
    schedule: Schedule | None = None
    clip_skip: ClipSkip | None = None
    prompt_syntax: PromptSyntax | None = None
    vae: str | None = None
    refiner: Name | None = None
    description: Annotated[str, Field(max_length=500)] | None = None


class CheckpointFolder(Section):
    """The folder in which a checkpoint is a model name as soon as it lies there."""

    directory: Path = Path("checkpoints")
    watch: bool = True


class LoraWeight(Section):
    """A LoRA of a house style; without a weight it has the LoRA's own."""

    name: str
    weight: Weight | None = None
    text_encoder_weight: Weight | None = None


class HouseStyle(Section):
    """A model name made of a checkpoint, LoRAs and defaults."""

    checkpoint: str | None = None
    loras: tuple[LoraWeight, ...] = ()
    steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    sampler: SamplerName | None = None
    schedule: Schedule | None = None
    clip_skip: ClipSkip | None = None
    prompt_syntax: PromptSyntax | None = None
    size: Size | None = None
    negative_prompt: str | None = None
    trigger_words: str | None = None
    add_trigger_words: bool = False
    background: Background | None = None
