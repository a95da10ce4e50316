"""Whom a job is given to: the warm one, until waiting for it costs more than warming another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_gateway.core.events import AdapterLoaded, BlendSwitched, ModelLoaded
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.dispatch import Standing, choose

WARM, NEAR = Standing(), Standing(warming_seconds=0.5, blend_warm=False)
COLD = Standing(warming_seconds=8.0, blend_warm=False, checkpoint_warm=False)


def test_warm_before_near_before_cold() -> None:
    assert choose([COLD, NEAR, WARM]) == 2
    assert choose([COLD, NEAR]) == 1
    assert [one.warmth for one in (WARM, NEAR, COLD)] == ["blend", "checkpoint", "cold"]


@pytest.mark.parametrize(("wait", "chosen"), [(0.0, 0), (0.4, 0), (0.6, 1), (5.0, 1)])
def test_a_hot_blend_spreads_once_waiting_costs_more_than_warming(wait: float, chosen: int) -> None:
    assert choose([replace(WARM, wait_seconds=wait), NEAR]) == chosen


def test_as_long_as_nothing_is_measured_what_is_warm_counts_then_the_least_to_do() -> None:
    unmeasured = [Standing(images=images, blend_warm=warm) for images, warm in ((0, False), (3, True), (2, True))]
    assert choose(unmeasured) == 2
    assert choose([replace(WARM, paint_seconds=seconds) for seconds in (3.0, 1.0, 2.0)]) == 1, "the fastest of equals"


standings = st.builds(
    Standing, st.floats(0, 60), st.floats(0, 60), st.floats(0, 60), st.booleans(), st.booleans(), st.integers(0, 8)
)


@given(st.lists(standings, min_size=1, max_size=8))
def test_nobody_begins_it_sooner_and_of_equals_nobody_is_warmer(all_of_them: list[Standing]) -> None:
    chosen = all_of_them[choose(all_of_them)]
    assert chosen.begins_seconds == min(one.begins_seconds for one in all_of_them)
    equals = [one for one in all_of_them if one.begins_seconds == chosen.begins_seconds]
    assert chosen.checkpoint_warm == any(one.checkpoint_warm for one in equals)


def test_what_warming_costs_is_what_bringing_was_measured_to_cost() -> None:
    costs = Costs()
    assert costs.warming_seconds(checkpoint_warm=False, adapters_missing=2) == 0.0
    costs.observe(AdapterLoaded("a", "disk", 0.5, 1))
    costs.observe(AdapterLoaded("a", "vram", 0.0, 1))
    costs.observe(AdapterLoaded("a", "refused", 0.0, 0))
    costs.observe(ModelLoaded("checkpoint", "disk", 8.0, 1))
    costs.observe(ModelLoaded("control", "disk", 99.0, 1))
    costs.observe(BlendSwitched(0.01, 722))
    assert costs.warming_seconds(checkpoint_warm=True, adapters_missing=2) == pytest.approx(1.01)
    assert costs.warming_seconds(checkpoint_warm=False, adapters_missing=0) == pytest.approx(8.01)
    assert costs.warming_seconds(checkpoint_warm=True, adapters_missing=0) == 0.0
