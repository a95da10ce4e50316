"""Takes a LoRA's name and metadata, gives the schedule it was distilled for, when it is a known few-step LoRA."""

from __future__ import annotations

import re
from collections.abc import Mapping

TRAILING = "trailing"
MAX_CHARS = 300
_TOLD_IN = ("ss_output_name", "modelspec.title")
_STEPS = r"\d+[-_ ]?steps?"
# Words that are subjects too ("lightning", "hyper-realistic") count only beside the model's or the steps' name.
_FEW_STEPS = re.compile(
    rf"sdxl[-_ ]?lightning|lightning[-_ ]?(sdxl|{_STEPS})|{_STEPS}[-_ ]?lightning|(?<![a-z])lightning[-_ ]lora(?![a-z])"
    rf"|(?<![a-z])hyper[-_ ]?sd(xl)?(?![a-z])|(?<![a-z])hyper[-_ ]?{_STEPS}"
    r"|(?<![a-z])(lcm|dmd2|pcm|tcd)(?![a-z])|sd[-_ ]?xl[-_ ]?turbo",
    re.IGNORECASE,
)


def schedule_of(name: str, metadata: Mapping[str, str]) -> str | None:
    """`name` is the LoRA's, with its folders. All of these are trained to begin at full noise: "trailing", or None."""
    told = (name, *(metadata.get(key, "") for key in _TOLD_IN))
    return TRAILING if any(_FEW_STEPS.search(text[:MAX_CHARS]) for text in told) else None
