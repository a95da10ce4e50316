"""Takes what a caller left open, gives what the house style, the LoRAs and the checkpoint usually take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from sdxl_gateway.catalog.lora_folder.sidecar import Defaults
from sdxl_gateway.config import Checkpoint, HouseStyle
from sdxl_gateway.core.ask import Ask, Operation
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.prompt import CLIP_SKIP
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.core.samplers import NORMAL, SAMPLERS, sampler_name
from sdxl_gateway.core.text import shown

STEPS = 30
GUIDANCE_SCALE = 5.0
SAMPLER = "euler"
EDIT_STRENGTH = 0.8
VARIATION_STRENGTH = 0.6
GUIDED_VARIATION_STRENGTH = 1.0
"""Where an IP-Adapter tells the model what to paint, nothing of the old layout need stand."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Usual:
    """The style's word goes before the LoRAs' (the strongest first), and theirs before the checkpoint's."""

    style: HouseStyle
    recommended: tuple[Defaults, ...]
    section: Checkpoint

    @property
    def steps(self) -> int:
        """Denoising steps at medium quality."""
        return _first(STEPS, self.style.steps, *(one.steps for one in self.recommended), self.section.steps)

    @property
    def guidance_scale(self) -> float:
        """Classifier-free guidance; 1 and below is none."""
        told = (one.guidance_scale for one in self.recommended)
        return _first(GUIDANCE_SCALE, self.style.guidance_scale, *told, self.section.guidance_scale)

    @property
    def sampler(self) -> str:
        """A LoRA's side-car may name one that is not served: nobody's request shall fail for it."""
        told = (sampler_name(one.sampler or "") for one in self.recommended)
        return _first(SAMPLER, self.style.sampler, *told, self.section.sampler)

    @property
    def schedule(self) -> str:
        """Where the steps lie; a few-step LoRA asks to begin at full noise."""
        return _first(NORMAL, self.style.schedule, *(one.schedule for one in self.recommended), self.section.schedule)

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


def asked_sampler(text: str) -> str:
    """The sampler a caller named, as this server calls it. Raises InvalidRequest for one that is not served."""
    name = sampler_name(text)
    if name is None:
        choices = ", ".join(SAMPLERS)
        raise InvalidRequest(f"Invalid value: {shown(text)}. Supported values are: {choices}.", param="sampler")
    return name


def strength(ask: Ask, task: Task, *, guided: bool = False) -> float:
    """How far the picture may leave what it starts from, 0 to 1; `guided` where pictures tell what to paint."""
    if task is Task.TEXT_TO_IMAGE:
        return 1.0
    variation = GUIDED_VARIATION_STRENGTH if guided else VARIATION_STRENGTH
    usual = variation if ask.operation is Operation.VARY else EDIT_STRENGTH
    return _first(1.0 if task is Task.INPAINT else usual, ask.strength)


def _first(otherwise: T, *said: T | None) -> T:
    """What was said first, else the last resort."""
    return next((value for value in said if value is not None), otherwise)
