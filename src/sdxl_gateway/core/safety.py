"""Findings of judges in texts and pictures, and policies for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Stage = Literal["prompt", "upload", "preview", "picture"]
Action = Literal["blocked", "blurred", "flagged"]
UNJUDGED = "unjudged"
"""The category for texts and pictures that a judge failed to judge."""


class Policy(StrEnum):
    """What a finding leads to: refusal, a blurred picture, a later review by a person, or nothing.

    A text cannot be blurred: with BLUR it is refused. With OFF nothing is judged.
    """

    BLOCK = "block"
    BLUR = "blur"
    FLAG = "flag"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The categories that were found; `scores` (0 to 1) are of all categories.

    `whole` if no judge failed; a judge that failed has found nothing.
    """

    categories: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    whole: bool = True

    @property
    def found(self) -> bool:
        """Something is to be done."""
        return bool(self.categories)

    @property
    def unjudged(self) -> bool:
        """Nothing was found, but a judge failed."""
        return self.categories == (UNJUDGED,)


CLEAN = Verdict()
UNSEEN = Verdict(whole=False)
"""The verdict when no judge could look, and that is allowed."""


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """The union of several verdicts, with the highest of each score."""
    categories: dict[str, None] = {}
    scores: dict[str, float] = {}
    whole = True
    for verdict in verdicts:
        whole = whole and verdict.whole
        categories |= dict.fromkeys(verdict.categories)
        scores |= {name: max(score, scores.get(name, 0.0)) for name, score in verdict.scores.items()}
    return Verdict(tuple(categories), scores, whole)


@dataclass(frozen=True, slots=True)
class Oversight:
    """How the pictures of one request are judged, and for whom; `found` is the verdict on its texts and uploads."""

    policy: Policy
    tenant: str = ""
    key_id: str = ""
    found: tuple[str, ...] = ()


UNWATCHED = Oversight(Policy.OFF)


JudgeName = Literal["words", "moderation", "pictures"]
JudgeOutcome = Literal["clean", "found", "late", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JudgeEnded:
    """A judge was asked: it found something or nothing, took too long, or failed; or the client disconnected.

    `seconds` includes waiting for its turn.
    """

    judge: JudgeName
    outcome: JudgeOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Moderated:
    """Something was found, and this was done about it.

    `job_id` is empty before there is a job; `review` is the id of the review, if there is one.
    """

    tenant: str
    key_id: str
    job_id: str
    stage: Stage
    action: Action
    categories: tuple[str, ...]
    review: str | None = None
