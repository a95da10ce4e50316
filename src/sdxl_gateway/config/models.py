"""The sections of models: checkpoints, the folder of further ones, and house styles."""

from __future__ import annotations

from math import fsum, isclose
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from sdxl_gateway.config.prompting import PromptSyntax
from sdxl_gateway.config.section import Section
from sdxl_gateway.core.limits import CLIP_SKIP, GUIDANCE_SCALE, LONGEST_SIDE, LORA_WEIGHT, STEPS
from sdxl_gateway.core.picture import Size as Pixels
from sdxl_gateway.core.recipe import Background
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES, read_sampler, read_schedule
from sdxl_gateway.core.sizes import nearest_size


def _served(sampler: str) -> str:
    if read_sampler(sampler) is None:
        raise ValueError(f"should be one of {', '.join(map(repr, SAMPLERS))}")
    return sampler


def _schedule(text: str) -> str:
    schedule = read_schedule(text)
    if schedule is None:
        raise ValueError(f"should be one of {', '.join(map(repr, SCHEDULES))}")
    return schedule


def _paintable(size: str) -> str:
    """Raises ValueError for a size that no request could ask for, whatever `limits.max_pixels` is."""
    if size != "auto" and (near := nearest_size(Pixels.of(size), LONGEST_SIDE**2)) != Pixels.of(size):
        raise ValueError(f"should be a size that is painted, such as '{near}'")
    return size


Name = Annotated[str, StringConstraints(pattern=r"^[^+\s]+$", max_length=200)]
Size = Annotated[str, StringConstraints(pattern=r"^(auto|\d{2,4}x\d{2,4})$"), AfterValidator(_paintable)]
SamplerName = Annotated[str, AfterValidator(_served)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Steps = Annotated[int, Field(ge=1, le=STEPS)]
GuidanceScale = Annotated[float, Field(ge=0, le=GUIDANCE_SCALE)]
Share = Annotated[float, Field(ge=0, le=1)]
ClipSkip = Annotated[int, Field(ge=1, le=CLIP_SKIP)]
Weight = Annotated[float, Field(ge=-LORA_WEIGHT, le=LORA_WEIGHT)]


class Checkpoint(Section):
    """A diffusers folder, a single file or a fetched Hub model, with its defaults."""

    path: str
    config: str | None = None
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    zero_snr: bool | None = None
    native_pixels: Annotated[int, Field(ge=64 * 64)] | None = None
    steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    guidance_end: Share | None = None
    sampler: SamplerName | None = None
    schedule: Schedule | None = None
    clip_skip: ClipSkip | None = None
    prompt_syntax: PromptSyntax | None = None
    vae: str | None = None
    refiner: Name | None = None
    description: Annotated[str, Field(max_length=500)] | None = None


class CheckpointFolder(Section):
    """The folder whose checkpoints become models as soon as they are put there."""

    directory: Path = Path("checkpoints")
    watch: bool = True
    max_file_bytes: int = Field(default=16 * 2**30, gt=0)


class LoraWeight(Section):
    """A LoRA of a house style; without a weight it has the LoRA's own default."""

    name: str
    weight: Weight | None = None
    text_encoder_weight: Weight | None = None


class RolloutArm(Section):
    """A model name, and the share of callers who get it."""

    target: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    share: Annotated[float, Field(ge=0, le=100)]


def _whole(arms: tuple[RolloutArm, ...]) -> tuple[RolloutArm, ...]:
    total = fsum(arm.share for arm in arms)
    if arms and not any(isclose(total, whole, abs_tol=1e-6) for whole in (1, 100)):
        raise ValueError(f"the shares add up to {total:g}, and should to 100 or to 1.0")
    if len({arm.target.lower() for arm in arms}) < len(arms):
        raise ValueError("a target is named twice")
    return arms


class HouseStyle(Section):
    """A model name for a checkpoint with LoRAs and defaults; or a rollout, which distributes callers among models."""

    checkpoint: str | None = None
    loras: tuple[LoraWeight, ...] = ()
    steps: Steps | None = None
    guidance_scale: GuidanceScale | None = None
    guidance_end: Share | None = None
    sampler: SamplerName | None = None
    schedule: Schedule | None = None
    clip_skip: ClipSkip | None = None
    prompt_syntax: PromptSyntax | None = None
    size: Size | None = None
    negative_prompt: str | None = None
    trigger_words: str | None = None
    add_trigger_words: bool = False
    background: Background | None = None
    rollout: Annotated[tuple[RolloutArm, ...], AfterValidator(_whole)] = ()

    @model_validator(mode="after")
    def _alone(self) -> HouseStyle:
        beside = sorted(self.model_fields_set - {"rollout"})
        if self.rollout and beside:
            raise ValueError(f"a rollout's targets say all: leave out {', '.join(beside)}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The shares of a rollout's arms, by target."""
        return {arm.target: arm.share for arm in self.rollout}
