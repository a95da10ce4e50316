"""Intervals of 95 % confidence against values from the literature."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.intervals import Estimate, mean_of, share_of, student_t

NEWCOMBE = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]
"""Newcombe (1998), table I, method 3."""
STUDENT = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 10: 2.2281, 29: 2.0452, 30: 2.0423, 120: 1.9799}
"""Quantiles 0.975 of t, as any table has them."""


def told(found: Estimate | None) -> tuple[float | None, ...]:
    assert found is not None
    return found.value, found.low, found.high


@pytest.mark.parametrize(("hits", "total", "low", "high"), NEWCOMBE)
def test_wilsons_interval(hits: int, total: int, low: float, high: float) -> None:
    assert told(share_of(hits, total)) == pytest.approx((hits / total, low, high), abs=5e-5)


def test_all_is_as_none_turned_round() -> None:
    assert told(share_of(20, 20)) == pytest.approx((1.0, 1 - 0.1611, 1.0), abs=5e-5)
    assert share_of(0, 0) is None


@pytest.mark.parametrize(("freedom", "t"), STUDENT.items())
def test_students_t(freedom: int, t: float) -> None:
    assert student_t(freedom) == pytest.approx(t, abs=5e-5)


def test_where_t_is_taken_for_normal_nothing_jumps() -> None:
    assert student_t(999) == pytest.approx(student_t(1000), rel=0.0013)


def test_the_mean_of_scores() -> None:
    """1, 2, 3, 4, 5: a deviation of sqrt(2.5), and 2.7764 * sqrt(2.5 / 5) = 1.9632."""
    assert told(mean_of(dict.fromkeys(range(1, 6), 1))) == pytest.approx((3.0, 1.0368, 4.9632), abs=5e-5)
    assert mean_of({4: 1}) == Estimate(4.0)
    assert mean_of({4: 7}) == Estimate(4.0, 4.0, 4.0)
    assert mean_of({}) is None
