"""Reads the JSON of feedback on a picture, and the query of the operators' table of feedback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.keys import refuse_unknown
from sdxl_gateway.api.asks.values import integer, missing, text, wrong_type
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.storage.feedback import Said

BEST = 5
MOST_TAGS = 16
MOST_DAYS = 36_600
_SCORE = Field("score", Kind.INTEGER, "From 1, the worst, to 5.", low=1, high=BEST)
_TAG = Field("tags", Kind.TEXT, "A word for what is good or bad in it.", max_chars=64)
_COMMENT = Field("comment", Kind.TEXT, "Whatever else there is to say.", max_chars=4000)
_USER = Field("user", Kind.TEXT, "The end user who gives the feedback.", max_chars=512)
_DAYS = Field("days", Kind.INTEGER, "The number of days, today included.", low=1, high=MOST_DAYS)

FEEDBACK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["score"],
    "additionalProperties": False,
    "properties": {
        "score": {"type": "integer", "minimum": 1, "maximum": BEST, "description": _SCORE.about},
        "tags": {
            "type": "array",
            "maxItems": MOST_TAGS,
            "items": {"type": "string", "minLength": 1, "maxLength": _TAG.max_chars},
            "description": "Words for what is good or bad in it.",
        },
        "comment": {"type": "string", "maxLength": _COMMENT.max_chars, "description": _COMMENT.about},
        "user": {"type": "string", "maxLength": _USER.max_chars, "description": _USER.about},
    },
}


def read_feedback(given: Mapping[str, Any]) -> Said:
    """The feedback. Raises InvalidRequest naming the field."""
    refuse_unknown(given, frozenset(FEEDBACK_SCHEMA["properties"]))
    if given.get("score") is None:
        raise missing("score")
    score = integer(_SCORE, given["score"], "score")
    comment = text(_COMMENT, given.get("comment") or "", "comment").strip()
    return Said(score, _tags(given.get("tags")), comment, text(_USER, given.get("user") or "", "user"))


def read_days(said: str | None) -> int | None:
    """The number of days, None for all. Raises InvalidRequest."""
    return None if said is None else integer(_DAYS, said, "days")


def _tags(given: Any) -> tuple[str, ...]:
    """The tags in lower case, without duplicates."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise wrong_type("tags", "an array", given)
    if len(given) > MOST_TAGS:
        raise InvalidRequest(f"Invalid 'tags': at most {MOST_TAGS} are kept.", param="tags")
    tags = [text(_TAG, tag, f"tags[{place}]").strip().lower() for place, tag in enumerate(given)]
    if "" in tags:
        raise InvalidRequest("Invalid 'tags': a tag is empty.", param=f"tags[{tags.index('')}]")
    return tuple(dict.fromkeys(tags))
