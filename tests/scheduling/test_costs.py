"""The work of a step, which the scheduler reckons with before anything is painted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.recipe import Control
from sdxl_gateway.scheduling.costs import CONTROL_WORK, step_work
from tests.kit.recipes import recipe


def test_a_guided_step_is_two_rows() -> None:
    assert step_work(recipe(width=1000, height=1000)) == 2
    assert step_work(recipe(width=1000, height=1000, guidance_scale=1.0)) == 1


def test_controls_count_for_the_steps_they_take_part_in() -> None:
    plain = recipe()
    whole, half = Control("a", "a", 1.0), Control("b", "b", 0.5, start=0.25, end=0.75)
    assert step_work(replace(plain, controls=(whole,))) == pytest.approx(step_work(plain) * (1 + CONTROL_WORK))
    assert step_work(replace(plain, controls=(whole, half))) == pytest.approx(
        step_work(plain) * (1 + 1.5 * CONTROL_WORK)
    )
