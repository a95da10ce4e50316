"""Takes the counts of rollouts' arms and the feedback on their pictures, gives a line of statistics for each arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sdxl_gateway.core.events import ArmOutcome
from sdxl_gateway.core.intervals import Estimate, mean_of, share_of
from sdxl_gateway.core.quantiles import quantile
from sdxl_gateway.core.rollout import Arm, Shares
from sdxl_gateway.storage.feedback import ArmFigures
from sdxl_gateway.storage.feedback_table import Scores

MOST_TAGS = 10


@dataclass(frozen=True, slots=True)
class ArmLine:
    """How an arm does. `share` is the one in force, None for an arm that is no longer configured.

    Seconds are those of requests. `refused` is the share of the arm's requests that were refused, as ones their client
    could have mended, and `score` is the mean of the `scores` that were given.
    """

    arm: Arm
    share: float | None
    requests: Counter[ArmOutcome]
    pictures: int
    median_seconds: float | None
    p95_seconds: float | None
    refused: Estimate | None
    score: Estimate | None
    scores: int
    tags: dict[str, int]


@dataclass(slots=True)
class _Sums:
    requests: Counter[ArmOutcome] = field(default_factory=Counter)
    bins: Counter[int] = field(default_factory=Counter)
    pictures: int = 0


def arm_lines(found: ArmFigures, rollouts: Mapping[str, Shares], rollout: str | None = None) -> list[ArmLine]:
    """One for each arm that is configured or was counted, of one rollout or of all."""
    sums = _summed(found)
    configured = [Arm(name, target) for name, shares in rollouts.items() for target in shares]
    arms = dict.fromkeys([*configured, *sums, *found.said])
    return [
        _line(arm, rollouts.get(arm.rollout, {}).get(arm.target), sums.get(arm, _Sums()), found.said.get(arm))
        for arm in sorted(arms, key=lambda arm: arm.rollout)
        if rollout in (None, arm.rollout)
    ]


def _summed(found: ArmFigures) -> dict[Arm, _Sums]:
    sums: dict[Arm, _Sums] = {}
    for key, counted in found.counted.items():
        of_arm = sums.setdefault(key.arm, _Sums())
        of_arm.requests[key.outcome] += counted.requests
        of_arm.pictures += counted.pictures
        if key.outcome == "finished":
            of_arm.bins[key.bin] += counted.requests
    return sums


def _line(arm: Arm, share: float | None, sums: _Sums, said: Scores | None) -> ArmLine:
    said = said or Scores(Counter(), Counter())
    return ArmLine(
        arm,
        share,
        sums.requests,
        sums.pictures,
        quantile(sums.bins, 0.5),
        quantile(sums.bins, 0.95),
        share_of(sums.requests["refused"], sums.requests.total()),
        mean_of(said.scores),
        said.scores.total(),
        dict(said.tags.most_common(MOST_TAGS)),
    )
