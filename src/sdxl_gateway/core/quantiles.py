"""Quantiles of durations within one per cent, by bins that grow exponentially (DDSketch, Masson et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log

ACCURACY = 0.01
LEAST_SECONDS = 0.001
"""Everything below is one bin."""
_GROWTH = (1 + ACCURACY) / (1 - ACCURACY)


def bin_of(seconds: float) -> int:
    """The bin of a duration; all values in a bin are within `ACCURACY` of its middle."""
    return 0 if seconds <= LEAST_SECONDS else ceil(log(seconds / LEAST_SECONDS) / log(_GROWTH))


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """The duration that a `share` (0..1) of the values does not exceed, by nearest rank; None without values."""
    rank, seen = ceil(share * sum(bins.values())), 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= rank > 0:
            return LEAST_SECONDS * 2 * _GROWTH**number / (_GROWTH + 1)
    return None
