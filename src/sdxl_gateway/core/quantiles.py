"""Takes seconds, gives the bin they fall into, and quantiles of what was binned, within one per cent (DDSketch)."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log

ACCURACY = 0.01
LEAST_SECONDS = 0.001
"""All that took less is one bin."""
_GROWTH = (1 + ACCURACY) / (1 - ACCURACY)


def bin_of(seconds: float) -> int:
    """Bins grow with their seconds, so that one value is within `ACCURACY` of all in it (Masson et al. 2019)."""
    return 0 if seconds <= LEAST_SECONDS else ceil(log(seconds / LEAST_SECONDS) / log(_GROWTH))


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """Seconds that a `share` (0..1) of the counted did not exceed, the nearest rank; None where nothing is counted."""
    rank, seen = ceil(share * sum(bins.values())), 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= rank > 0:
            return LEAST_SECONDS * 2 * _GROWTH**number / (_GROWTH + 1)
    return None
