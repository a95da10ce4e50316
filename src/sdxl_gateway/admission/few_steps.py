"""Warnings for requests whose settings contradict what a few-step model was distilled for."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_gateway.admission.defaults import Recommendation, Usual
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.samplers import read_sampler

MOST_GUIDANCE = 2.0
"""The guidance that a model distilled for none still tolerates."""
STEPS_SHARE = 2
"""How many times the steps it was distilled for do no harm."""


def few_steps_warnings(ask: Ask, usual: Usual, recipe: Recipe) -> tuple[str, ...]:
    """The warnings; none for other models, or for what the caller left open."""
    made_for = usual.few_steps
    if made_for is None:
        return ()
    quality = (f"This model was distilled for {made_for.steps} steps, whatever the quality.",) if _scales(ask) else ()
    return quality + tuple(
        f"This model was distilled for {own}; with {asked} its pictures may be spoilt."
        for own, asked in _contradictions(ask, made_for, recipe)
    )


def _contradictions(ask: Ask, made_for: Recommendation, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What it was distilled for, and what was asked for instead."""
    steps, guidance_scale = made_for.steps or 1, made_for.guidance_scale
    if ask.steps is not None and not steps <= ask.steps <= STEPS_SHARE * steps:
        yield f"{steps} steps", f"{ask.steps}"
    if guidance_scale is not None and _too_much(ask.guidance_scale, guidance_scale):
        yield f"a guidance_scale of {guidance_scale:g}", f"{ask.guidance_scale:g}"
    sampler = read_sampler(made_for.sampler or "")
    if ask.sampler is not None and sampler is not None and recipe.sampler != sampler.sampler:
        yield f"the sampler {sampler.sampler}", recipe.sampler
    if _names_schedule(ask) and made_for.schedule not in (None, recipe.schedule):
        yield f"the schedule {made_for.schedule}", recipe.schedule


def _names_schedule(ask: Ask) -> bool:
    joined = read_sampler(ask.sampler or "")
    return ask.schedule is not None or (joined is not None and joined.schedule is not None)


def _scales(ask: Ask) -> bool:
    return ask.steps is None and ask.quality not in (None, "medium")


def _too_much(asked: float | None, own: float) -> bool:
    return asked is not None and own <= MOST_GUIDANCE < asked
