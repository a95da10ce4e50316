"""Reads the JSON that decides a review, or appeals against a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.keys import refuse_unknown
from sdxl_gateway.api.asks.values import choice, missing, text

MOST_CHARS = 4000
DECISION = Field("decision", Kind.CHOICE, "The decision.", choices=("approve", "reject"))
NOTE = Field("note", Kind.TEXT, "The reason, shown to the picture's owner.", max_chars=MOST_CHARS)
TEXT = Field("text", Kind.TEXT, "Why the decision is wrong.", max_chars=MOST_CHARS)


@dataclass(frozen=True, slots=True)
class Decision:
    """An operator's decision, and why."""

    approve: bool
    note: str = ""


def read_decision(given: Mapping[str, Any]) -> Decision:
    """Raises InvalidRequest naming the field."""
    refuse_unknown(given, frozenset({"decision", "note"}))
    if given.get("decision") is None:
        raise missing("decision")
    decided = choice(DECISION, given["decision"], "decision")
    return Decision(decided == "approve", text(NOTE, given.get("note", ""), "note"))


def read_appeal(given: Mapping[str, Any]) -> str:
    """Raises InvalidRequest naming the field."""
    refuse_unknown(given, frozenset({"text"}))
    found = text(TEXT, given.get("text", ""), "text").strip()
    if not found:
        raise missing("text", given="text" in given)
    return found
