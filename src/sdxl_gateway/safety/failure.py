"""The error of a judge that could not reach a verdict."""

from __future__ import annotations

from typing import Literal


class JudgeFailed(Exception):
    """`outcome` is "late" or "failed"; the text is for the operator's log."""

    def __init__(self, outcome: Literal["late", "failed"], reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
