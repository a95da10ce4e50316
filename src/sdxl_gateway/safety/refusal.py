"""Takes a verdict that blocks a request, gives the error for the caller."""

from __future__ import annotations

from typing import Literal

from sdxl_gateway.core.errors import GatewayError, ModerationBlocked, PictureUnjudged, Unjudged
from sdxl_gateway.core.safety import Verdict

# Clients match this text.
REJECTED = "Your request was rejected by the safety system"
WHAT = {"input": "What you sent", "output": "What was painted"}


def refusal(verdict: Verdict, stage: Literal["input", "output"]) -> GatewayError:
    """Unjudged or PictureUnjudged if a judge failed, else ModerationBlocked with the categories found."""
    if verdict.unjudged:
        kind = Unjudged if stage == "input" else PictureUnjudged
        return kind(f"{WHAT[stage]} has to be judged by the safety system, which is not possible now; try again.")
    categories = ", ".join(verdict.categories)
    return ModerationBlocked(
        f"{REJECTED}. {WHAT[stage]} is not allowed here: safety_violations=[{categories}].",
        stage=stage,
        categories=verdict.categories,
    )
