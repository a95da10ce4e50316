"""What a gateway is asked of questions to others, and is told; knows nothing of redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Question:
    """What `kind` asks the gateway `to` with `value`, which is JSON; `at` unix seconds."""

    id: str
    to: str
    kind: str
    value: dict[str, Any]
    at: float


class QuestionMirror(Protocol):
    """Carries questions to gateways, and answers, a part at a time, back to who asked. Everything raises Unavailable
    while it cannot be."""

    gateway: str
    """This one."""

    async def ask(self, question: Question) -> None:
        """It is to be answered."""
        ...

    async def asked(self) -> Sequence[Question]:
        """What this gateway was asked since it looked last."""
        ...

    async def answer(self, question_id: str, part: Sequence[Any] | None) -> int:
        """One more part of this gateway's answer, None after the last; how many wait there to be taken."""
        ...

    async def waiting(self, question_id: str) -> int:
        """How many parts of this gateway's answer wait to be taken."""
        ...

    async def take(self, question: Question) -> Sequence[Sequence[Any] | None]:
        """The parts of the answer that have come and were not taken yet."""
        ...
