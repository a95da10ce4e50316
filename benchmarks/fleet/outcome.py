"""What became of the jobs of a simulated fleet, and the figures made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """`given` counts jobs handed to cards, `warm` those whose blend and checkpoint were there already.

    `held_seconds` are those that cards were paid for; `lost` jobs were begun by two cards that died.
    """

    offered: Counter[str] = field(default_factory=Counter)
    in_time: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    images: int = 0
    images_in_time: int = 0
    refused: int = 0
    dropped: int = 0
    lost: int = 0
    given: int = 0
    warm: int = 0
    switches: int = 0
    deaths: int = 0
    held_seconds: float = 0.0

    @property
    def goodput(self) -> float:
        """The share of jobs that were painted within the deadline."""
        return self.in_time.total() / self.offered.total()

    @property
    def warm_hits(self) -> float:
        return self.warm / self.given

    @property
    def fairness(self) -> float:
        """Jain's index over the tenants' goodputs: 1 where all fare alike."""
        shares = [self.in_time[tenant] / offered for tenant, offered in self.offered.items()]
        return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))

    def cost_per_thousand(self, price_per_hour: float) -> float:
        """Of pictures that came in time."""
        return self.held_seconds / 3600 * price_per_hour / self.images_in_time * 1000


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
