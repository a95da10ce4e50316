"""The work of a step, which the scheduler reckons with before anything is painted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.recipe import Control
from sdxl_gateway.scheduling.costs import CONTROL_WORK, mean_work, step_work
from sdxl_gateway.scheduling.demand import Demand
from tests.kit.recipes import recipe


def test_a_guided_step_is_two_rows() -> None:
    assert step_work(recipe(width=1000, height=1000)) == 2
    assert step_work(recipe(width=1000, height=1000, guidance_scale=1.0)) == 1


def test_a_step_beyond_the_end_of_guidance_is_one_row() -> None:
    wanted = recipe(width=1000, height=1000, steps=10, guidance_end=0.6)
    works = [step_work(wanted, step) for step in range(11)]
    assert works == [2] * 6 + [1] * 5
    assert [mean_work(wanted, done) for done in (0, 4, 6, 10)] == pytest.approx([1.6, 8 / 6, 1, 1])
    assert Demand.of(replace(wanted, count=3)).work == pytest.approx(3 * sum(works[:10]))
    assert mean_work(replace(wanted, guidance_end=1.0), 10) == 2


def test_an_end_counts_in_unet_calls() -> None:
    """To the nearest, as diffusers' own guiders would without rounding errors."""
    assert recipe(steps=100, guidance_end=0.29).guided_steps == 29
    assert recipe(steps=5, guidance_end=0.6, sampler="heun").guided_steps == 5
    assert not recipe(guidance_end=0.5, guidance_scale=1.0).guidance_ends


def test_controls_count_for_the_steps_they_take_part_in() -> None:
    plain = recipe()
    whole, half = Control("a", "a", 1.0), Control("b", "b", 0.5, start=0.25, end=0.75)
    assert step_work(replace(plain, controls=(whole,))) == pytest.approx(step_work(plain) * (1 + CONTROL_WORK))
    assert step_work(replace(plain, controls=(whole, half))) == pytest.approx(
        step_work(plain) * (1 + 1.5 * CONTROL_WORK)
    )
