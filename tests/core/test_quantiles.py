"""Quantiles of binned seconds are within one per cent of those of the seconds themselves."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sdxl_gateway.core.quantiles import LEAST_SECONDS, bin_of, quantile


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 1.0])
def test_within_one_per_cent(share: float) -> None:
    drawn = random.Random(7)
    seconds = sorted(drawn.lognormvariate(1.0, 1.2) for _ in range(2000))
    nearest = seconds[max(round(share * len(seconds)) - 1, 0)]
    assert quantile(Counter(map(bin_of, seconds)), share) == pytest.approx(nearest, rel=0.01)


def test_few_and_none() -> None:
    assert quantile({}, 0.5) is None
    for seconds in (0.004, 1.0, 1234.5):
        assert quantile({bin_of(seconds): 1}, 0.95) == pytest.approx(seconds, rel=0.01)
    assert bin_of(0.0) == bin_of(LEAST_SECONDS) == 0
