"""Adds up the figures of rollouts' arms from every gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.core.order import Member
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.storage.arm_table import ArmKey, Counted
from sdxl_gateway.storage.feedback import ArmFigures, FeedbackStore
from sdxl_gateway.storage.feedback_table import Scores

ARMS = "arms"
COUNTED, SAID = "counted", "said"


@dataclass(frozen=True, slots=True)
class Arms:
    """The figures in `store`; with `questions`, those of other gateways too."""

    store: FeedbackStore
    questions: Questions | None = None

    def __post_init__(self) -> None:
        if self.questions is not None:
            self.questions.follow(ARMS, self._own)

    async def figures(self, since: float) -> tuple[ArmFigures, Sequence[Member | None]]:
        """From the day of `since` (unix seconds) on; and the gateways whose part is missing, None for all others."""
        found = await self.store.figures(since)
        if self.questions is None:
            return found, []
        heard = await self.questions.gathered(ARMS, {"since": since})
        for item in heard.items:
            _add(found, *item)
        return found, heard.missing

    async def _own(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        found = await self.store.figures(value["since"])
        for key, counted in found.counted.items():
            yield COUNTED, (key.day, key.arm.rollout, key.arm.target, key.outcome, key.bin), counted
        for arm, said in found.said.items():
            yield SAID, (arm.rollout, arm.target), (list(said.scores.items()), list(said.tags.items()))


def _add(found: ArmFigures, what: str, about: Sequence[Any], figures: Sequence[Any]) -> None:
    if what == SAID:
        said = found.said.setdefault(Arm(*about), Scores(Counter(), Counter()))
        said.scores.update(dict(figures[0]))
        said.tags.update(dict(figures[1]))
        return
    day, rollout, target, outcome, slot = about
    key, (requests, pictures) = ArmKey(day, Arm(rollout, target), outcome, slot), figures
    before = found.counted.get(key, Counted())
    found.counted[key] = Counted(before.requests + requests, before.pictures + pictures)
