from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.events import BlendSwitched, StageTimed, StepTaken
from sdxl_gateway.jobs.engine_slot import Assignment
from sdxl_gateway.jobs.estimate import RESTART_GUESS_SECONDS, Estimate, retry_after
from sdxl_gateway.scheduling.costs import Costs, step_work
from sdxl_gateway.scheduling.demand import Demand
from tests.kit.jobs import job, recipe


def test_nothing_measured_costs_nothing() -> None:
    assert Estimate(4).job_seconds(job()) == 0.0
    assert not Estimate(4).costs.known


def test_a_job_is_its_steps_in_full_batches_and_its_stages() -> None:
    estimate, work = Estimate(4), step_work(recipe())
    for lanes in (1, 4, 1, 4):
        estimate.costs.observe(StepTaken(1.0 + 0.5 * lanes, lanes, work * lanes))
    estimate.costs.observe(StageTimed("encode", 0.25))
    estimate.costs.observe(StageTimed("prepare", 0.25))
    estimate.costs.observe(StageTimed("decode", 1.0))
    estimate.costs.observe(BlendSwitched(0.125, 10))
    assert estimate.job_seconds(job(steps=10, count=6)) == pytest.approx(10 * (3.0 + 2.0) + 6 * 1.5 + 0.125)


def test_a_detail_pass_costs_as_many_steps_as_its_tiles_take() -> None:
    estimate = Estimate(4)
    estimate.costs.observe(StepTaken(2.0, 1, step_work(recipe())))
    plain = job(steps=10)
    wanted = replace(plain, recipe=replace(plain.recipe, width=16, height=16, detail=0.3))
    steps = 9 * (3 + 2)
    assert estimate.job_seconds(wanted) == pytest.approx(estimate.job_seconds(plain) + 2.0 * steps)
    assert Demand.of(wanted.recipe).work == pytest.approx(Demand.of(plain.recipe).work * (10 + steps) / 10)
    whole = Assignment(wanted, started=True, steps_done={0: 10 + steps})
    assert (Assignment(wanted).share_left, whole.share_left) == (1, 0)


def test_one_size_of_step_scales_with_its_work() -> None:
    costs = Costs()
    for _ in range(20):
        costs.observe(StepTaken(2.0, 1, 4.0))
    assert costs.step_seconds(8.0) == pytest.approx(4.0)


def test_steps_that_grow_with_work_by_chance_of_noise_never_cost_less_than_nothing() -> None:
    costs = Costs()
    for work, seconds in ((1.0, 5.0), (2.0, 1.0), (1.0, 6.0)):
        costs.observe(StepTaken(seconds, 1, work))
    assert 0 < costs.step_seconds(1.0) <= costs.step_seconds(9.0)


def test_recent_measurements_count_more() -> None:
    costs = Costs()
    for seconds in [1.0] * 100 + [2.0] * 60:
        costs.observe(StepTaken(seconds, 1, 1.0))
    assert 1.9 < costs.step_seconds(1.0) <= 2.0


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (7.1, 8), (120.0, 120), (1e9, 120)])
def test_retry_after_is_one_that_clients_accept(seconds: float, told: float) -> None:
    assert retry_after(seconds) == told


def test_a_restart_is_guessed_until_one_was_measured() -> None:
    estimate = Estimate(4)
    assert estimate.restart_seconds() == RESTART_GUESS_SECONDS
    estimate.restarts.add(3.0)
    assert estimate.restart_seconds() == 3.0
