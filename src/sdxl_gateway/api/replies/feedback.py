"""The replies with feedback on a picture, and with the results of rollouts' arms."""

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
    """The caller's current feedback on a picture."""

    object: Literal["image.feedback"]
    image: str
    score: int
    tags: list[str]
    comment: str
    user: str | None
    created_at: int


class Interval(TypedDict):
    """An estimate and its 95 % confidence interval; null if there is too little data."""

    value: float | None
    low: float | None
    high: float | None


class ArmRequests(TypedDict):
    """The number of requests by outcome; `reused` ones got pictures painted for an earlier request."""

    finished: int
    reused: int
    refused: int
    failed: int
    cancelled: int


class ArmSeconds(TypedDict):
    """Seconds from a finished request's arrival, or its job's start, to its last picture; accurate to 1 %."""

    median: float | None
    p95: float | None


class ArmRow(TypedDict):
    """The results of one arm of a rollout; `share` is the current one, null for an arm that is no longer configured.

    `refused_share` has a Wilson interval; `score` is the mean of `scores` scores, with a Student's t interval.
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
    """Every present and past arm. What the `missing` gateways counted is not included."""

    object: Literal["list"]
    data: list[ArmRow]
    has_more: Literal[False]
    missing: list[Absent]


def feedback_card(said: Feedback) -> FeedbackCard:
    """The stored feedback as a JSON object."""
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
    """The table of all arms as a JSON object."""
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
