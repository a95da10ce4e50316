"""Takes an Ask's prompt, its tags cut out, gives both texts as they are painted, and how they are to be read."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_gateway.admission.blends import with_triggers
from sdxl_gateway.admission.defaults import Usual
from sdxl_gateway.admission.prompts.clip_skip import clip_skip
from sdxl_gateway.admission.prompts.syntax import check_prompt
from sdxl_gateway.admission.prompts.weights import weight_warning
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.prompt_syntax import PLAIN


@dataclass(frozen=True, slots=True)
class Texts:
    """Both prompts of a recipe; `warnings` say what in them has no effect."""

    prompt: str
    negative_prompt: str
    reading: TextReading
    warnings: tuple[str, ...] = ()


def texts_of(ask: Ask, prompt: str, usual: Usual, checkpoint: CheckpointEntry, settings: Settings) -> Texts:
    """Raises InvalidRequest for a text that cannot be read in the syntax in force, naming where it came from."""
    reading = _reading(ask, usual, checkpoint, settings)
    check_prompt(prompt, reading.syntax, param="prompt")
    return Texts(
        _prompt(ask, prompt, usual, reading),
        _negative_prompt(ask, usual, reading),
        reading,
        _weights_warned_of(ask) if reading.syntax == PLAIN else (),
    )


def _reading(ask: Ask, usual: Usual, checkpoint: CheckpointEntry, settings: Settings) -> TextReading:
    prompts = settings.prompts
    long_prompts = prompts.long_prompts if ask.long_prompts is None else ask.long_prompts
    return TextReading(
        clip_skip=clip_skip(ask.clip_skip, usual.clip_skip, checkpoint),
        max_chunks=settings.limits.max_prompt_chunks if long_prompts else 1,
        syntax=ask.prompt_syntax or usual.prompt_syntax or prompts.prompt_syntax,
    )


def _prompt(ask: Ask, prompt: str, usual: Usual, reading: TextReading) -> str:
    if ask.replay is not None and ask.replay.final_prompt:
        return prompt
    return with_triggers(prompt, usual.style, usual.recommended, reading.syntax)


def _negative_prompt(ask: Ask, usual: Usual, reading: TextReading) -> str:
    if ask.negative_prompt is None:
        check_prompt(usual.negative_prompt, reading.syntax, param="model")
        return usual.negative_prompt
    check_prompt(ask.negative_prompt, reading.syntax, param="negative_prompt")
    return ask.negative_prompt


def _weights_warned_of(ask: Ask) -> tuple[str, ...]:
    return (
        *weight_warning(ask.prompt, "prompt"),
        *weight_warning(ask.negative_prompt or "", "negative_prompt"),
    )
