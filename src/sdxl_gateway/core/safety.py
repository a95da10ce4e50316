"""What judges find in texts and pictures, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Stage = Literal["prompt", "upload", "preview", "picture"]
Action = Literal["blocked", "blurred", "flagged"]
UNJUDGED = "unjudged"
"""The category of what a judge that failed could not be asked about."""


class Policy(StrEnum):
    """What a finding means for a caller: refused, handed out unrecognisable, looked at by a person later, or nothing.

    A text cannot be blurred: under BLUR it is refused. Under OFF nothing is judged.
    """

    BLOCK = "block"
    BLUR = "blur"
    FLAG = "flag"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, as names of categories; `scores` (0 to 1) are of all that was looked for.

    `whole` where every judge could look: one that failed may have found nothing for that alone.
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
        """Nothing was found; somebody could not look."""
        return self.categories == (UNJUDGED,)


CLEAN = Verdict()
UNSEEN = Verdict(whole=False)
"""What passes although nobody could look."""


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """All that was found in several; of each score the highest."""
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
    """How the pictures of one request are watched over, and for whom; `found` is what its texts and uploads held."""

    policy: Policy
    tenant: str = ""
    key_id: str = ""
    found: tuple[str, ...] = ()


UNWATCHED = Oversight(Policy.OFF)


JudgeName = Literal["words", "moderation", "pictures"]
JudgeOutcome = Literal["clean", "found", "late", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JudgeEnded:
    """A judge was asked: it found something or nothing, took too long, or failed; or its caller went away.

    `seconds` include its waiting for a turn.
    """

    judge: JudgeName
    outcome: JudgeOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Moderated:
    """Something was found, and this was done about it.

    `job_id` is empty before there is a job; `review` is the id under which a person will look at it.
    """

    tenant: str
    key_id: str
    job_id: str
    stage: Stage
    action: Action
    categories: tuple[str, ...]
    review: str | None = None
