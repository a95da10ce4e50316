"""Outcome: the answer of the shared state to a gateway that reports where one of its jobs or batches stands."""

from __future__ import annotations

from enum import Enum, auto


class Outcome(Enum):
    """What became of a report.

    TOLD: it is stored. CANCELLED: it is stored, and another gateway asks for the job or batch to be cancelled.
    LACKING: it is stored, but its uploads (of a batch: its requests) are missing, without which no other gateway could
    take it over. TAKEN: it is not stored, for another gateway has taken the job or batch over.
    """

    TOLD = auto()
    CANCELLED = auto()
    LACKING = auto()
    TAKEN = auto()


OUTCOMES = {
    b"told": Outcome.TOLD,
    b"cancelled": Outcome.CANCELLED,
    b"lacking": Outcome.LACKING,
    b"taken": Outcome.TAKEN,
}
"""By the words that the Lua scripts return."""
