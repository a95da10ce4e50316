"""Confidence intervals (95 %) of shares and of means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
NORMAL_FROM = 1000
"""Degrees of freedom from which Student's t is the normal distribution, within 0.13 % of its quantile."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval of 95 %; without one when there are too few data."""

    value: float
    low: float | None = None
    high: float | None = None


def share_of(hits: int, total: int) -> Estimate | None:
    """A share with Wilson's score interval (1927), which holds for small counts and for none; None without data."""
    if total == 0:
        return None
    share, z = hits / total, _normal()
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Estimate(share, max(middle - reach, 0.0), min(middle + reach, 1.0))


def mean_of(counted: Mapping[int, int]) -> Estimate | None:
    """The mean of scores, by how often each was given, with Student's t interval; None without data."""
    total = sum(counted.values())
    if total == 0:
        return None
    mean = sum(score * times for score, times in counted.items()) / total
    if total == 1:
        return Estimate(mean)
    variance = sum(times * (score - mean) ** 2 for score, times in counted.items()) / (total - 1)
    reach = student_t(total - 1) * sqrt(variance / total)
    return Estimate(mean, mean - reach, mean + reach)


def student_t(freedom: int) -> float:
    """The bound that |t| does not exceed with 95 % probability."""
    return _normal() if freedom >= NORMAL_FROM else _where(lambda t: _within(t, freedom) >= CONFIDENCE)


def _normal() -> float:
    return NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def _within(t: float, freedom: int) -> float:
    """The probability of |t| below that: the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term = total = cos(angle) if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * cos(angle) ** 2
        total += term
    if odd:
        return 2 / pi * (angle + (sin(angle) * total if freedom > 1 else 0.0))
    return sin(angle) * total


def _where(holds: Callable[[float], bool]) -> float:
    """The least number from which on the condition holds, by bisection."""
    low, high = 0.0, 1.0
    while not holds(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
