"""Takes what was said of a picture, and the table of rollouts' arms, gives the replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.replies.absences import Absent, absences
from sdxl_gateway.core.intervals import Estimate
from sdxl_gateway.core.order import Member
from sdxl_gateway.gateway.arm_report import ArmLine
from sdxl_gateway.storage.feedback_table import Feedback


class FeedbackCard(TypedDict):
    """What the caller says of a picture from now on."""

    object: Literal["image.feedback"]
    image: str
    score: int
    tags: list[str]
    comment: str
    user: str | None
    created_at: int


class Interval(TypedDict):
    """A value, and where the true one lies with 95 % confidence; null where too little is known."""

    value: float | None
    low: float | None
    high: float | None


class ArmRequests(TypedDict):
    """So many ended so; `reused` got what was painted before."""

    finished: int
    reused: int
    refused: int
    failed: int
    cancelled: int


class ArmSeconds(TypedDict):
    """From when requests that finished came, or their jobs were taken up, to their last picture; within 1 %."""

    median: float | None
    p95: float | None


class ArmRow(TypedDict):
    """How one arm of a rollout does; `share` is the one in force, null of an arm that is not configured any more.

    `refused_share` has Wilson's interval, the mean `score` Student's t over `scores` of them.
    """

    object: Literal["rollout.arm"]
    rollout: str
    arm: str
    share: float | None
    requests: ArmRequests
    pictures: int
    seconds: ArmSeconds
    refused_share: Interval
    scores: int
    score: Interval
    tags: dict[str, int]


class ArmTable(TypedDict):
    """Every arm there is or was. What `missing` gateways know of them is not in it."""

    object: Literal["list"]
    data: list[ArmRow]
    has_more: Literal[False]
    missing: list[Absent]


def feedback_card(said: Feedback) -> FeedbackCard:
    """As it is kept."""
    return {
        "object": "image.feedback",
        "image": said.image,
        "score": said.score,
        "tags": list(said.tags),
        "comment": said.comment,
        "user": said.user or None,
        "created_at": int(said.created),
    }


def arm_table(lines: Iterable[ArmLine], missing: Sequence[Member | None] = ()) -> ArmTable:
    """The whole of it."""
    rows = [_row(line) for line in lines]
    return {"object": "list", "data": rows, "has_more": False, "missing": absences(missing)}


def _row(line: ArmLine) -> ArmRow:
    return {
        "object": "rollout.arm",
        "rollout": line.arm.rollout,
        "arm": line.arm.target,
        "share": line.share,
        "requests": {
            "finished": line.requests["finished"],
            "reused": line.requests["reused"],
            "refused": line.requests["refused"],
            "failed": line.requests["failed"],
            "cancelled": line.requests["cancelled"],
        },
        "pictures": line.pictures,
        "seconds": {"median": line.median_seconds, "p95": line.p95_seconds},
        "refused_share": _interval(line.refused),
        "scores": line.scores,
        "score": _interval(line.score),
        "tags": line.tags,
    }


def _interval(found: Estimate | None) -> Interval:
    if found is None:
        return {"value": None, "low": None, "high": None}
    return {"value": found.value, "low": found.low, "high": found.high}
