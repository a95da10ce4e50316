"""When a delivery is tried again, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.core.webhook import Delivery, DeliveryState
from sdxl_gateway.webhooks.schedule import DELAYS_SECONDS, LONGEST_SECONDS, Answer, settled

NEW = Delivery("msg_1", "art", "http://r/", "r", "image.job.completed", "job_1", "{}", 1000.0, 1000.0, due=1000.0)
BROKEN = Answer(500)


def attempts(answer: Answer, share: float) -> list[float]:
    """When it was tried, each time to no avail, until it was given up."""
    delivery, times = NEW, list[float]()
    while delivery.due is not None:
        times.append(delivery.due)
        now = delivery.due
        delivery = settled(replace(delivery, attempts=delivery.attempts + 1), answer, now, lambda: share)
    assert delivery.state is DeliveryState.FAILED
    return times


@pytest.mark.parametrize("answer", [BROKEN, Answer(404), Answer(302), Answer(problem="Not reached.")])
def test_tried_again_for_three_days_ever_more_seldom(answer: Answer) -> None:
    times = attempts(answer, share=0.0)
    assert [later - earlier for earlier, later in pairwise(times)] == list(DELAYS_SECONDS)
    assert 0.95 * LONGEST_SECONDS < times[-1] - times[0] <= LONGEST_SECONDS


@given(st.floats(0, 1))
def test_jitter_only_hurries(share: float) -> None:
    for (earlier, later), delay in zip(pairwise(attempts(BROKEN, share)), DELAYS_SECONDS, strict=True):
        assert 0.8 * delay - 1e-6 <= later - earlier <= delay + 1e-6


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_taken(status: int) -> None:
    after = settled(replace(NEW, attempts=1), Answer(status), 1000.0, lambda: 0.0)
    assert (after.state, after.due, after.status) == (DeliveryState.DELIVERED, None, status)


def test_a_receiver_that_is_gone_is_not_asked_again() -> None:
    after = settled(replace(NEW, attempts=1), Answer(410), 1000.0, lambda: 0.0)
    assert (after.state, after.due) == (DeliveryState.DISABLED, None)


@pytest.mark.parametrize(("asked", "waits"), [(60.0, 60.0), (1.0, 5.0), (1e9, 24 * 3600.0)])
def test_a_receiver_says_when_to_come_back(asked: float, waits: float) -> None:
    after = settled(replace(NEW, attempts=1), Answer(503, retry_after_seconds=asked), 1000.0, lambda: 0.0)
    assert after.due == 1000.0 + waits
