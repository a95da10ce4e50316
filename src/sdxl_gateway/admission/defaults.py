"""Defaults for what a request leaves open, from the house style, the LoRAs and the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol, TypeVar

from sdxl_gateway.catalog.lora_folder.sidecar import NOTHING_KNOWN, Defaults, distilled
from sdxl_gateway.catalog.lora_format.few_steps import MOST_STEPS, few_steps_checkpoint
from sdxl_gateway.config import Checkpoint, HouseStyle
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.prompt import CLIP_SKIP
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.core.samplers import NORMAL, Sampling, read_sampler

STEPS = 30
GUIDANCE_SCALE = 5.0
SAMPLER = Sampling("euler")
EDIT_STRENGTH = 0.8
VARIATION_STRENGTH = 0.6
GUIDED_VARIATION_STRENGTH = 1.0
"""If an IP-Adapter tells the model what to paint, nothing of the old layout need be kept."""
T = TypeVar("T")


class Recommendation(Protocol):
    """The defaults that house styles, LoRAs and checkpoints' sections all may have; None if not set."""

    @property
    def steps(self) -> int | None: ...

    @property
    def guidance_scale(self) -> float | None: ...

    @property
    def sampler(self) -> str | None: ...

    @property
    def schedule(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Usual:
    """Defaults in order of precedence: the style's, the LoRAs' (the strongest first), then the checkpoint's.

    `known` are those inferred from the checkpoint's name, which come last, after its section's.
    """

    style: HouseStyle
    recommended: tuple[Defaults, ...]
    section: Checkpoint
    known: Defaults = NOTHING_KNOWN

    @property
    def told(self) -> tuple[Recommendation, ...]:
        """All sources of defaults, in order of precedence."""
        return (self.style, *self.recommended, self.section, self.known)

    @property
    def steps(self) -> int:
        """Denoising steps at medium quality."""
        return _first(STEPS, *(one.steps for one in self.told))

    @property
    def few_steps(self) -> Recommendation | None:
        """The LoRA, else the checkpoint, that was distilled to few steps, if any."""
        return next((one for one in self.told[1:] if one.steps is not None and one.steps <= MOST_STEPS), None)

    @property
    def guidance_scale(self) -> float:
        """The scale of classifier-free guidance; 1 and below is no guidance."""
        return _first(GUIDANCE_SCALE, *(one.guidance_scale for one in self.told))

    @property
    def guidance_end(self) -> float:
        """The share of the steps with guidance, from the style, else the checkpoint."""
        return _first(1.0, self.style.guidance_end, self.section.guidance_end)

    @property
    def sampler(self) -> Sampling:
        """The sampler; one in a LoRA's side-car that is not supported is skipped, so that no request fails for it."""
        return _first(SAMPLER, *(read_sampler(one.sampler or "") for one in self.told))

    def schedule(self, *, own_sampler: bool) -> str:
        """The noise schedule; with the default sampler (`own_sampler`) also one that is part of the sampler's name."""
        return _first(NORMAL, *(one.schedule or (_joined(one) if own_sampler else None) for one in self.told))

    @property
    def eta(self) -> float:
        """The share of fresh noise in a step (DDIM's eta)."""
        return _first(0.0, *(one.eta for one in self.recommended), self.known.eta)

    @property
    def clip_skip(self) -> int:
        """The layer of the text encoders that is used, counted from the end."""
        return _first(
            CLIP_SKIP, self.style.clip_skip, *(one.clip_skip for one in self.recommended), self.section.clip_skip
        )

    @property
    def prompt_syntax(self) -> str | None:
        """The syntax of prompts for this model; None if not set."""
        return self.style.prompt_syntax or self.section.prompt_syntax

    @property
    def negative_prompt(self) -> str:
        """The style's negative prompt, or ""."""
        return self.style.negative_prompt or ""


def known_of(name: str, section: Checkpoint) -> Defaults:
    """The defaults inferred from a checkpoint's name and its file's or folder's."""
    return distilled(few_steps_checkpoint(f"{name} {PurePath(section.path).name}"))


def _joined(told: Recommendation) -> str | None:
    sampling = read_sampler(told.sampler or "")
    return None if sampling is None else sampling.schedule


def strength(ask: Ask, task: Task, *, guided: bool = False) -> float:
    """How far the picture may depart from the one it starts from, 0 to 1; `guided` if reference pictures guide it."""
    if task is Task.TEXT_TO_IMAGE:
        return 1.0
    variation = GUIDED_VARIATION_STRENGTH if guided else VARIATION_STRENGTH
    usual = variation if ask.operation is Operation.VARY else EDIT_STRENGTH
    return _first(1.0 if task is Task.INPAINT else usual, ask.strength)


def first_said(*said: T | None) -> T | None:
    """The first value that is set, None if none is."""
    return next((value for value in said if value is not None), None)


def _first(otherwise: T, *said: T | None) -> T:
    """The first value that is set, else `otherwise`."""
    found = first_said(*said)
    return otherwise if found is None else found
