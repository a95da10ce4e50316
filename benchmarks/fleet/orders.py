"""Takes a load, gives jobs in the order of their arrival: blends of Zipf popularity, bursts, tenants of all sizes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from sdxl_gateway.core.job import Job
from sdxl_gateway.core.recipe import Blend, BlendPart, Recipe
from tests.kit import recipes

SLO_SECONDS = 10.0
"""A picture later than this is worth nothing."""
JOBS_PER_CARD_SECOND = 0.97
"""What one card of this simulation paints, one job of the mix after another and no blend switched."""
KINDS = ((30, 1, 5.0), (30, 4, 5.0), (8, 1, 1.0))
"""Steps, images and guidance scale of a job; eight of ten are of the first kind."""
KIND_SHARES = (8, 1, 1)
TENANTS = 20


@dataclass(frozen=True, slots=True)
class Traffic:
    """`load` is the share of what `cards` can paint; in a burst, 10 s of every 50, it is `burst` times as much.

    The mean stays as it is. `swing` lets the load rise from (1 - swing) to (1 + swing) of itself and fall back, once.
    Each blend belongs to one of the `checkpoints`, half of them to the first.
    """

    cards: int
    blends: int
    load: float
    checkpoints: int = 3
    burst: float = 1.0
    swing: float = 0.0

    def rate(self, now: float, seconds: float) -> float:
        """Jobs a second at that moment of so many seconds."""
        between = (5 - self.burst) / 4
        tide = 1 + self.swing * (1 - abs(2 * now / seconds - 1)) * 2 - self.swing
        return self.load * self.cards * JOBS_PER_CARD_SECOND * tide * (self.burst if now % 50 < 10 else between)


def orders(traffic: Traffic, seconds: float, seed: int) -> Iterator[Job]:
    """Equal arguments, equal jobs."""
    chance = random.Random(seed)
    blends, popularity = range(traffic.blends), _zipf(traffic.blends)
    tenants, sizes = range(TENANTS), _zipf(TENANTS)
    now, number = 0.0, 0
    while (now := now + chance.expovariate(traffic.rate(now, seconds))) < seconds:
        (blend,) = chance.choices(blends, cum_weights=popularity)
        (tenant,) = chance.choices(tenants, cum_weights=sizes)
        (kind,) = chance.choices(range(len(KINDS)), KIND_SHARES)
        number += 1
        asked = recipe(checkpoint_of(blend, traffic.checkpoints), blend, kind)
        yield Job(f"{number:07}", asked, tenant=str(tenant), arrived=now, deadline=now + SLO_SECONDS)


def _zipf(number: int) -> list[float]:
    """Cumulated: the k-th is asked for in proportion to 1 / k."""
    return list(accumulate(1 / rank for rank in range(1, number + 1)))


def checkpoint_of(number: int, checkpoints: int) -> str:
    """The first has half of all numbers, the others share the rest."""
    return f"sdxl-{max(number % (2 * checkpoints - 2) - checkpoints + 2, 0)}" if checkpoints > 1 else "sdxl-0"


@cache
def recipe(checkpoint: str, blend: int, kind: int) -> Recipe:
    """Of one adapter."""
    steps, count, guidance_scale = KINDS[kind]
    return recipes.recipe(
        checkpoint=checkpoint,
        blend=Blend.of([BlendPart(f"{blend:05}", 1.0, 1.0)]),
        width=1024,
        height=1024,
        steps=steps,
        guidance_scale=guidance_scale,
        count=count,
    )
