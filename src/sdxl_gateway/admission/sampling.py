"""Chooses the sampler and the schedule from those requested and the defaults."""

from __future__ import annotations

from typing import NamedTuple

from sdxl_gateway.admission.defaults import Usual
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.samplers import NORMAL, SAMPLERS, SCHEDULES, Sampling, near_samplers, read_sampler, read_schedule
from sdxl_gateway.core.text import shown


class Chosen(NamedTuple):
    """Names of SAMPLERS and SCHEDULES that go together."""

    sampler: str
    schedule: str


def chosen_sampling(ask: Ask, usual: Usual) -> Chosen:
    """Raises InvalidRequest for unsupported names, and for a schedule that the sampler does not have.

    Defaults never fail a request: a default schedule that the requested sampler does not have is dropped.
    """
    asked = None if ask.sampler is None else _asked_sampler(ask.sampler)
    sampler = usual.sampler.sampler if asked is None else asked.sampler
    schedule = _asked_schedule(ask, asked, sampler)
    if schedule is None:
        usually = usual.schedule(own_sampler=asked is None)
        schedule = usually if usually in SAMPLERS[sampler].schedules else NORMAL
    return Chosen(sampler, schedule)


def chosen_eta(ask: Ask, usual: Usual, sampler: str) -> float:
    """The eta; 0 for samplers that take none."""
    if not SAMPLERS[sampler].takes_eta:
        return 0.0
    return usual.eta if ask.eta is None else ask.eta


def without_effect(ask: Ask, recipe: Recipe) -> tuple[str, ...]:
    """A warning for each of eta, guidance_rescale and guidance_end that has no effect on this picture."""
    warnings = []
    if ask.eta and not SAMPLERS[recipe.sampler].takes_eta:
        warnings.append(f"The eta changes nothing: the sampler {recipe.sampler} takes none.")
    if ask.guidance_rescale and recipe.unet_rows == 1:
        warnings.append("The guidance_rescale changes nothing without guidance by two predictions.")
    if ask.guidance_end not in (None, 1) and recipe.unet_rows == 1:
        warnings.append("The guidance_end changes nothing without guidance by two predictions.")
    return tuple(warnings)


def _asked_sampler(text: str) -> Sampling:
    found = read_sampler(text)
    if found is None:
        near = near_samplers(text)
        hint = f" The nearest are {', '.join(near)}." if near else ""
        raise InvalidRequest(
            f"Invalid value: {shown(text)}.{hint} Supported values are: {', '.join(SAMPLERS)}.", param="sampler"
        )
    return found


def _asked_schedule(ask: Ask, asked: Sampling | None, sampler: str) -> str | None:
    """The requested schedule, from its field or the sampler's name; `normal` in the field does not contradict that."""
    own = None if ask.schedule is None else _read_schedule(ask.schedule)
    joined = None if asked is None else asked.schedule
    if joined is None:
        return None if own is None else _checked(sampler, own, param="schedule")
    if own not in (None, NORMAL, joined):
        raise InvalidRequest(
            f"The sampler {shown(ask.sampler or '')} names the schedule {joined}; the schedule asked for is {own}.",
            param="schedule",
        )
    return _checked(sampler, joined, param="sampler")


def _read_schedule(text: str) -> str:
    found = read_schedule(text)
    if found is None:
        choices = ", ".join(SCHEDULES)
        raise InvalidRequest(f"Invalid value: {shown(text)}. Supported values are: {choices}.", param="schedule")
    return found


def _checked(sampler: str, schedule: str, *, param: str) -> str:
    has = SAMPLERS[sampler].schedules
    if schedule not in has:
        raise InvalidRequest(
            f"The sampler {sampler} has no schedule {schedule}. It has: {', '.join(has)}.", param=param
        )
    return schedule
