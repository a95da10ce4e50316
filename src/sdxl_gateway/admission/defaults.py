"""Takes what a caller left open, gives what the house style, the LoRAs and the checkpoint usually take."""

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
"""Where an IP-Adapter tells the model what to paint, nothing of the old layout need stand."""
T = TypeVar("T")


class Recommendation(Protocol):
    """What a house style, a LoRA and a checkpoint's section have in common; None where they do not say."""

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
    """The style's word goes before the LoRAs' (the strongest first), and theirs before the checkpoint's.

    `known` is what the checkpoint's name tells, after all that its section says.
    """

    style: HouseStyle
    recommended: tuple[Defaults, ...]
    section: Checkpoint
    known: Defaults = NOTHING_KNOWN

    @property
    def told(self) -> tuple[Recommendation, ...]:
        """Whoever recommends something, whose word counts most first."""
        return (self.style, *self.recommended, self.section, self.known)

    @property
    def steps(self) -> int:
        """Denoising steps at medium quality."""
        return _first(STEPS, *(one.steps for one in self.told))

    @property
    def few_steps(self) -> Recommendation | None:
        """The LoRA, else the checkpoint, that was distilled to take few steps, where one was."""
        return next((one for one in self.told[1:] if one.steps is not None and one.steps <= MOST_STEPS), None)

    @property
    def guidance_scale(self) -> float:
        """Classifier-free guidance; 1 and below is none."""
        return _first(GUIDANCE_SCALE, *(one.guidance_scale for one in self.told))

    @property
    def guidance_end(self) -> float:
        """The share of the steps that guidance takes part in; the style's word, and the checkpoint's."""
        return _first(1.0, self.style.guidance_end, self.section.guidance_end)

    @property
    def sampler(self) -> Sampling:
        """A LoRA's side-car may name one that is not served: nobody's request shall fail for it."""
        return _first(SAMPLER, *(read_sampler(one.sampler or "") for one in self.told))

    def schedule(self, *, own_sampler: bool) -> str:
        """Where the steps lie; with the usual sampler (`own_sampler`) also as that one's name says."""
        return _first(NORMAL, *(one.schedule or (_joined(one) if own_sampler else None) for one in self.told))

    @property
    def eta(self) -> float:
        """The share of fresh noise in a step."""
        return _first(0.0, *(one.eta for one in self.recommended), self.known.eta)

    @property
    def clip_skip(self) -> int:
        """The layer of the text encoders that is read, counted from the end."""
        return _first(
            CLIP_SKIP, self.style.clip_skip, *(one.clip_skip for one in self.recommended), self.section.clip_skip
        )

    @property
    def prompt_syntax(self) -> str | None:
        """How prompts to this model are read; None where nobody says."""
        return self.style.prompt_syntax or self.section.prompt_syntax

    @property
    def negative_prompt(self) -> str:
        """What the style keeps away from."""
        return self.style.negative_prompt or ""


def known_of(name: str, section: Checkpoint) -> Defaults:
    """What a checkpoint's name and that of its folder tell of it."""
    return distilled(few_steps_checkpoint(f"{name} {PurePath(section.path).name}"))


def _joined(told: Recommendation) -> str | None:
    sampling = read_sampler(told.sampler or "")
    return None if sampling is None else sampling.schedule


def strength(ask: Ask, task: Task, *, guided: bool = False) -> float:
    """How far the picture may leave what it starts from, 0 to 1; `guided` where pictures tell what to paint."""
    if task is Task.TEXT_TO_IMAGE:
        return 1.0
    variation = GUIDED_VARIATION_STRENGTH if guided else VARIATION_STRENGTH
    usual = variation if ask.operation is Operation.VARY else EDIT_STRENGTH
    return _first(1.0 if task is Task.INPAINT else usual, ask.strength)


def first_said(*said: T | None) -> T | None:
    """What was said first, None where nothing was."""
    return next((value for value in said if value is not None), None)


def _first(otherwise: T, *said: T | None) -> T:
    """What was said first, else the last resort."""
    found = first_said(*said)
    return otherwise if found is None else found
