"""What the real scheduler, line and admission make of a busy simulated device."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from sdxl_gateway.core.job import Job
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


def of_tenant(name: str, jobs: list[Job]) -> list[Job]:
    return [replace(job, id=f"{name}-{job.id}", tenant=name, deadline=float("inf")) for job in jobs]


def p95(waits: list[float]) -> float:
    return sorted(waits)[int(0.95 * len(waits))]


@pytest.mark.parametrize("seed", [1, *(pytest.param(other, marks=pytest.mark.full) for other in (2, 3))])
@pytest.mark.parametrize("load", [0.2, 0.35])
def test_a_flood_leaves_another_tenant_its_share(load: float, seed: int) -> None:
    """A fair share of two tenants is half the device: who has it alone waits as on a device half as fast."""
    quiet = of_tenant("quiet", requests(load, 150, seed))
    flood = [replace(job, arrived=0.0) for job in of_tenant("flood", requests(1.0, 1000, seed + 10))]
    together = Device(sorted([*quiet, *flood], key=lambda job: job.arrived), SWITCH_SECONDS, admission=False).run()
    alone = Device(quiet, SWITCH_SECONDS, admission=False, slower=2.0).run()
    assert len(together.waits["flood"]) == 1000
    assert p95(together.waits["quiet"]) <= 2 * p95(alone.waits["quiet"])
