"""Recipe: everything that decides a picture's pixels, frozen; the same recipe paints the same picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from sdxl_gateway.core.picture import NO_PADDING, Padding
from sdxl_gateway.core.prompt import PLAIN_READING, TextReading
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.core.samplers import NORMAL, SAMPLERS

Preprocessor = Literal["canny", "line", "gray", "blur", "tile"]
"""The preprocessors that make a ControlNet's map (pictures/preprocess.py)."""

LANCZOS = "lanczos"
"""The upscaler that is not a net."""

BlendKey = tuple[tuple[str, float | tuple[float, ...]], ...]
"""Digests, each with its weight, or with its weight outside the blocks followed by those of `blocks.BLOCKS`."""

Background = Literal["opaque", "transparent"]

ROUNDING = 1e-9
"""Added before rounding down, so that 0.29 of 100 steps is 29."""


class Task(StrEnum):
    """The kinds of tasks, by what a picture is painted from."""

    TEXT_TO_IMAGE = "text_to_image"
    IMAGE_TO_IMAGE = "image_to_image"
    INPAINT = "inpaint"


@dataclass(frozen=True, slots=True, order=True)
class BlendPart:
    """One adapter at one strength; `digest` (sha256, hex) alone identifies its file.

    `blocks` are factors of `weight` for each of `blocks.BLOCKS`; empty when all are 1.
    """

    digest: str
    weight: float
    text_encoder_weight: float
    name: str = field(default="", compare=False)
    blocks: tuple[float, ...] = ()

    @property
    def unet_weight(self) -> float | tuple[float, ...]:
        """`weight`, or with `blocks` the tuple that `BlendKey` holds."""
        return (self.weight, *(self.weight * factor for factor in self.blocks)) if self.blocks else self.weight


@dataclass(frozen=True, slots=True)
class Blend:
    """A set of adapters with weights, in digest order, so that equal blends compare equal however they were written."""

    parts: tuple[BlendPart, ...] = ()

    @classmethod
    def of(cls, parts: list[BlendPart]) -> Blend:
        """The blend of these parts; weights of one file are added up and parts of weight 0 left out."""
        summed: dict[str, BlendPart] = {}
        for part in parts:
            before = summed.get(part.digest)
            summed[part.digest] = part if before is None else _add(before, part)
        kept = [p for p in summed.values() if p.weight != 0 or p.text_encoder_weight != 0]
        return cls(tuple(sorted(kept)))

    @property
    def unet_key(self) -> BlendKey:
        """What decides the UNet's weights."""
        return tuple((p.digest, p.unet_weight) for p in self.parts if p.weight != 0)

    @property
    def text_key(self) -> tuple[tuple[str, float], ...]:
        """What decides the text encoders' weights."""
        return tuple((p.digest, p.text_encoder_weight) for p in self.parts if p.text_encoder_weight != 0)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of its files."""
        return tuple(p.digest for p in self.parts)


def _add(a: BlendPart, b: BlendPart) -> BlendPart:
    if a.blocks or b.blocks:
        raise ValueError("block weights of one file are not added up")
    return BlendPart(a.digest, a.weight + b.weight, a.text_encoder_weight + b.text_encoder_weight, a.name)


NO_BLEND = Blend()


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """Reference pictures that guide a painting through one IP-Adapter.

    `weights` are in the order of their roles, "reference:0", ... `adapter` is its name; `digest` is that of its file
    and its image encoder.
    """

    adapter: str
    digest: str
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """A range of steps and the model that takes them: it begins once `from_step` steps are done.

    With `from_share` (0..1) it begins at that share of the way from noise to picture, measured in training steps;
    `from_step` is then an estimate until the sampler determines the step.
    """

    checkpoint: str
    checkpoint_digest: str
    blend: Blend
    from_step: int = 0
    from_share: float | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet and its weight; its picture is the input of role `control_role(i)`.

    It takes part in the steps between `start` and `end`, shares of all steps, also of those that a refiner takes.
    `mode` is the number of the kind of picture, for a union of controls. `preprocessor` made the picture; None if it
    was uploaded as a map.
    """

    name: str
    digest: str
    weight: float
    start: float = 0.0
    end: float = 1.0
    mode: int | None = None
    preprocessor: Preprocessor | None = None

    def takes_part(self, step: int, steps: int) -> bool:
        """Whether it takes part in step number `step` (from 0) of `steps`, by diffusers' own arithmetic."""
        return not (step / steps < self.start or (step + 1) / steps > self.end)


def control_role(index: int) -> str:
    """The role of the picture that belongs to a recipe's control number `index`."""
    return f"control:{index}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One request's pictures, everything decided; image *i* of `count` is painted from `seed + i`.

    Sizes are pixels. `paint_width/height` is what the model paints (divisible by 8); `width/height` what the
    caller gets: they differ when the request is above the checkpoint's native pixel budget. `embeds_guidance` says
    that the UNet reads the guidance scale itself. `sampler` and `schedule` are of core.samplers.SAMPLERS and SCHEDULES;
    `eta` (0..1) is the share of fresh noise, for samplers that take it. `guidance_rescale` (0..1) is how far guidance
    keeps the contrast of the prompt's own prediction. `later_phases` are models that take over half-way, in the order
    of their steps; the first one's steps alone have `controls`. `inputs` are the digests, by role, of the pictures it
    is painted from; `padding` was added to the first. `inpaint_padding` are pixels around a mask that is painted with
    its surroundings alone, None where the whole picture is; within `seam` pixels of what it keeps colours are matched.
    `reading` is how both prompts are read; `image_prompt` guides beside them. `matte` is the digest of the model that
    makes what is behind the subject transparent, None where it stays. `upscaler` is the net that enlarges what was
    painted, "" for none; `upscale` is how much larger than its size a picture was asked for. `detail` (0..1) is how far
    what was enlarged is painted over, as `strength` is for a picture to start from; 0 leaves it. `arm` is that of the
    rollout that was asked for, and changes nothing beyond what the other fields say.
    Beyond `guidance_end`, a share of the UNet's calls, the prompt guides alone.
    """

    task: Task
    checkpoint: str
    checkpoint_digest: str
    blend: Blend
    prompt: str
    negative_prompt: str
    width: int
    height: int
    paint_width: int
    paint_height: int
    steps: int
    guidance_scale: float
    sampler: str
    seed: int
    count: int = 1
    strength: float = 1.0
    embeds_guidance: bool = False
    schedule: str = NORMAL
    eta: float = 0.0
    guidance_rescale: float = 0.0
    guidance_end: float = 1.0
    later_phases: tuple[Phase, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    padding: Padding = NO_PADDING
    inpaint_padding: int | None = None
    seam: int = 0
    controls: tuple[Control, ...] = ()
    reading: TextReading = PLAIN_READING
    image_prompt: ImagePrompt | None = None
    matte: str | None = None
    upscale: int = 1
    upscaler: str = ""
    upscaler_digest: str = ""
    detail: float = 0.0
    arm: Arm | None = None

    @property
    def digests(self) -> frozenset[str]:
        """The files it is painted from besides its checkpoints: LoRAs and embeddings."""
        taught = (digest for _, digest in self.reading.embeddings)
        return frozenset(taught).union(*(phase.blend.digests for phase in self.phases))

    @property
    def background(self) -> Background:
        """The background, in OpenAI's terms."""
        return "opaque" if self.matte is None else "transparent"

    @property
    def guided(self) -> bool:
        """Whether there is guidance, by rows of its own or as an input of the UNet."""
        return self.guidance_scale > 1.0

    @property
    def unet_rows(self) -> int:
        """Rows of a UNet call for each picture: two where classifier-free guidance compares both prompts."""
        return 2 if self.guided and not self.embeds_guidance else 1

    @property
    def guided_steps(self) -> int:
        """How many of `denoise_steps`, counted from the first, compare both prompts if `unet_rows` is two."""
        return int(self.guidance_end * self.denoise_steps + ROUNDING)

    @property
    def guidance_ends(self) -> bool:
        """Whether guidance by two rows ends before the last step."""
        return self.unet_rows_at(self.denoise_steps) < self.unet_rows

    def unet_rows_at(self, step: int) -> int:
        """Rows of the UNet call for step `step` (from 0); what follows the last step has as many as that."""
        return self.unet_rows if min(step, self.denoise_steps - 1) < self.guided_steps else 1

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All models that take steps, in order; the first from the first step on."""
        return (Phase(self.checkpoint, self.checkpoint_digest, self.blend), *self.later_phases)

    def phase_at(self, steps_done: int) -> Phase:
        """The phase that takes the step after `steps_done`."""
        return [phase for phase in self.phases if phase.from_step <= steps_done][-1]

    def hands_over_at(self, steps_done: int) -> bool:
        """Whether another model takes over once so many steps are done, as the second of two pipelines does."""
        return any(phase.from_share is not None and phase.from_step == steps_done for phase in self.later_phases)

    @property
    def denoise_steps(self) -> int:
        """UNet calls for each picture; second-order samplers make two per step."""
        return SAMPLERS[self.sampler].unet_calls(self.steps, self.steps_taken)

    @property
    def steps_taken(self) -> int:
        """The steps that are taken, of `steps`: image-to-image and inpainting skip the first ones, by `strength`."""
        if self.task is Task.TEXT_TO_IMAGE:
            return self.steps
        return self._taken_of(self.strength)

    @property
    def detail_calls(self) -> int:
        """UNet calls for each tile of a detail pass."""
        return SAMPLERS[self.sampler].unet_calls(self.steps, self._taken_of(self.detail))

    def _taken_of(self, strength: float) -> int:
        return max(min(int(self.steps * strength), self.steps), 1)

    def controls_at(self, step: int, steps: int | None = None) -> tuple[int, ...]:
        """The indices of the controls that take part in step `step`, of `steps` if those are known exactly."""
        total = self.denoise_steps if steps is None else steps
        if self.phase_at(step).from_step:
            return ()
        return tuple(i for i, control in enumerate(self.controls) if control.takes_part(step, total))
