"""The settings of known few-step models, which are recognized by name and metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sdxl_gateway.core.samplers import TRAILING

MAX_CHARS = 300
MOST_STEPS = 16
"""The largest number of steps that is taken to be one a model was distilled for."""
_TOLD_IN = ("ss_output_name", "modelspec.title")
_STEPS = r"\d+[-_ ]?steps?"
_STEP_COUNT = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?", re.IGNORECASE)
_KEEPS_GUIDANCE = re.compile(r"(?<![a-z])(normal)?cfg", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FewSteps:
    """The settings of a few-step model; a `guidance_scale` of None means that guidance is not changed."""

    steps: int
    guidance_scale: float | None
    sampler: str
    schedule: str | None = TRAILING
    eta: float | None = None


_LIGHTNING = FewSteps(4, 1.0, "euler")
_HYPER = FewSteps(8, 1.0, "ddim")
_TURBO = FewSteps(4, 1.0, "euler_a")
# Words that also describe pictures ("lightning", "hyper-realistic") only count next to a model's name or "steps".
_FAMILIES: tuple[tuple[str, FewSteps], ...] = (
    (
        rf"sdxl[-_ ]?lightning|lightning[-_ ]?(sdxl|{_STEPS})|{_STEPS}[-_ ]?lightning"
        r"|(?<![a-z])lightning[-_ ]lora(?![a-z])",
        _LIGHTNING,
    ),
    (r"(?<![a-z])hyper[-_ ]?(sd|sdxl)?[-_ ]?1[-_ ]?step", FewSteps(1, 1.0, "tcd", None, eta=1.0)),
    (rf"(?<![a-z])hyper[-_ ]?sd(xl)?(?![a-z])|(?<![a-z])hyper[-_ ]?{_STEPS}", _HYPER),
    (r"(?<![a-z])lcm(?![a-z])", FewSteps(4, 1.0, "lcm", None)),
    (r"(?<![a-z])dmd2(?![a-z])", FewSteps(4, 1.0, "lcm")),
    (r"(?<![a-z])pcm(?![a-z])", FewSteps(8, 1.0, "ddim")),
    (r"(?<![a-z])tcd(?![a-z])", FewSteps(4, 1.0, "tcd", None, eta=0.3)),
    (r"sd[-_ ]?xl[-_ ]?turbo", _TURBO),
)
_CHECKPOINTS = (*_FAMILIES, (r"lightning", _LIGHTNING), (r"hyper(?![a-z])", _HYPER), (r"turbo", _TURBO))
"""From the model cards of their authors; the number of steps is taken from the name if that contains it."""


def few_steps(name: str, metadata: Mapping[str, str]) -> FewSteps | None:
    """`name` is a LoRA's, with its folders. None if neither it nor the metadata indicates a known family."""
    told = (name, *(metadata.get(key, "") for key in _TOLD_IN))
    return next((found for text in told if (found := _known(text[:MAX_CHARS], _FAMILIES)) is not None), None)


def few_steps_checkpoint(name: str) -> FewSteps | None:
    """As `few_steps`, for a checkpoint: these are not named after subjects, so single words are enough."""
    return _known(name[:MAX_CHARS], _CHECKPOINTS)


def _known(text: str, families: tuple[tuple[str, FewSteps], ...]) -> FewSteps | None:
    found = (settings for words, settings in families if re.search(words, text, re.IGNORECASE))
    return next((_as_told(settings, text) for settings in found), None)


def _as_told(settings: FewSteps, text: str) -> FewSteps:
    count = _STEP_COUNT.search(text)
    if count is not None and 1 <= int(count[1]) <= MOST_STEPS:
        settings = replace(settings, steps=int(count[1]))
    return replace(settings, guidance_scale=None) if _KEEPS_GUIDANCE.search(text) else settings
