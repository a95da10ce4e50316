"""The port through which gateways ask each other questions; knows nothing of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Question:
    """A question of that kind to the gateway `to`; `value` is JSON, `at` when it was asked, in unix seconds."""

    id: str
    to: str
    kind: str
    value: dict[str, Any]
    at: float


class QuestionMirror(Protocol):
    """Brings questions to gateways, and their answers, one part at a time, back to whoever asked.

    Every method raises Unavailable while the shared state cannot be reached.
    """

    gateway: str
    """The id of this gateway."""

    async def ask(self, question: Question) -> None:
        """Send the question."""
        ...

    async def asked(self) -> Sequence[Question]:
        """The questions to this gateway since the last call."""
        ...

    async def answer(self, question_id: str, part: Sequence[Any] | None) -> int:
        """Add a part to this gateway's answer, None after the last one; how many parts wait to be taken."""
        ...

    async def waiting(self, question_id: str) -> int:
        """How many parts of this gateway's answer wait to be taken."""
        ...

    async def take(self, question: Question) -> Sequence[Sequence[Any] | None]:
        """Take the parts of the answer that have arrived since the last call."""
        ...
