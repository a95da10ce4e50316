"""What the real scheduler, line and admission make of a busy simulated device."""

from __future__ import annotations

from functools import cache

import pytest

from tests.jobs.simulation import SLO_SECONDS, Device, Outcome, first_come, requests

SWITCH_SECONDS = 0.010
REQUESTS = 1500


@cache
def ours(load: float) -> Outcome:
    return Device(requests(load, REQUESTS, seed=1), SWITCH_SECONDS).run()


@pytest.mark.parametrize("load", [0.6, 0.8, 0.95, 1.2])
def test_more_in_time_than_first_come_first_served(load: float) -> None:
    jobs = requests(load, REQUESTS, seed=1)
    assert ours(load).share_in_time >= first_come(jobs, SWITCH_SECONDS, admission=False).share_in_time
    assert ours(load).share_in_time >= first_come(jobs, SWITCH_SECONDS, admission=True).share_in_time - 0.005


def test_at_95_percent_load_95_percent_are_in_time() -> None:
    assert ours(0.95).share_in_time >= 0.95


@pytest.mark.parametrize("load", [0.6, 0.8, 0.95, 1.2])
def test_who_is_let_in_is_served(load: float) -> None:
    outcome = ours(load)
    assert outcome.offered == len(outcome.latencies) + outcome.refused + outcome.dropped
    assert outcome.dropped <= 0.01 * outcome.offered
    assert outcome.longest_wait_seconds <= SLO_SECONDS
