"""Takes a model's name and metadata, gives the settings it was distilled for, when it is a known few-step model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sdxl_gateway.core.samplers import TRAILING

MAX_CHARS = 300
MOST_STEPS = 16
"""What recommends no more steps than these was distilled for them."""
_TOLD_IN = ("ss_output_name", "modelspec.title")
_STEPS = r"\d+[-_ ]?steps?"
_STEP_COUNT = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?", re.IGNORECASE)
_KEEPS_GUIDANCE = re.compile(r"(?<![a-z])(normal)?cfg", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FewSteps:
    """What a few-step model is painted with; a `guidance_scale` of None leaves guidance as it is."""

    steps: int
    guidance_scale: float | None
    sampler: str
    schedule: str | None = TRAILING
    eta: float | None = None


_LIGHTNING = FewSteps(4, 1.0, "euler")
_HYPER = FewSteps(8, 1.0, "ddim")
_TURBO = FewSteps(4, 1.0, "euler_a")
# Words that are subjects too ("lightning", "hyper-realistic") count only beside the model's or the steps' name.
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
"""As their makers' model cards say; the number of steps is read from the name where it is told."""


def few_steps(name: str, metadata: Mapping[str, str]) -> FewSteps | None:
    """`name` is a LoRA's, with its folders. None where neither it nor the metadata tells of a known family."""
    told = (name, *(metadata.get(key, "") for key in _TOLD_IN))
    return next((found for text in told if (found := _known(text[:MAX_CHARS], _FAMILIES)) is not None), None)


def few_steps_checkpoint(name: str) -> FewSteps | None:
    """The same of a checkpoint, whose name tells more: it is not called for what it paints."""
    return _known(name[:MAX_CHARS], _CHECKPOINTS)


def _known(text: str, families: tuple[tuple[str, FewSteps], ...]) -> FewSteps | None:
    found = (settings for words, settings in families if re.search(words, text, re.IGNORECASE))
    return next((_as_told(settings, text) for settings in found), None)


def _as_told(settings: FewSteps, text: str) -> FewSteps:
    count = _STEP_COUNT.search(text)
    if count is not None and 1 <= int(count[1]) <= MOST_STEPS:
        settings = replace(settings, steps=int(count[1]))
    return replace(settings, guidance_scale=None) if _KEEPS_GUIDANCE.search(text) else settings
