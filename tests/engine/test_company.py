"""Features paint as in diffusers with a LoRA blend, in a mixed batch, and after other pictures have left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.picture import Inputs
from sdxl_gateway.core.recipe import Recipe, Task
from tests.kit.engine import contrast, difference
from tests.kit.everything import Everything
from tests.kit.features import FEATURES, WHOLE, Asked

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

FROM_PICTURES = ("nine", "fine")
"""Checkpoints that only paint from pictures in diffusers."""
BLENDED = [name for name in FEATURES if name != WHOLE]
"""LoRAs are for the base's UNet, and are not applied to a refiner."""


def blended(stocked: Everything, one: Recipe) -> Recipe:
    return replace(one, blend=stocked.blend)


def mixed(one: Recipe, inputs: Inputs) -> list[Asked]:
    """Four that share its steps: with other seeds, samplers, lengths and scales, one without pictures if possible."""
    scale = one.guidance_scale + (2.0 if one.guided else 0.0)
    task = one.task if one.checkpoint in FROM_PICTURES else Task.TEXT_TO_IMAGE
    return [
        (one, inputs),
        (replace(one, seed=11, sampler="euler_a", schedule="normal", eta=0.0), inputs),
        (replace(one, seed=12, steps=one.steps + 1, guidance_scale=scale), inputs),
        (replace(one, seed=13, task=task), inputs),
    ]


@pytest.mark.parametrize("name", BLENDED)
def test_with_a_blend_on(stocked: Everything, name: str) -> None:
    one, inputs = FEATURES[name](stocked)
    plain, ours = stocked.studio.paint(one, inputs), stocked.studio.paint(blended(stocked, one), inputs)
    theirs = stocked.oracle.paint(blended(stocked, one), inputs)
    assert contrast(theirs) > 20
    assert difference(ours, theirs) <= 1
    assert difference(ours, plain) > 5


@pytest.mark.parametrize("name", FEATURES)
def test_in_a_mixed_batch_of_four(stocked: Everything, name: str) -> None:
    wanted = mixed(*FEATURES[name](stocked))
    canvases = [stocked.studio.engine.begin(one, 0, inputs) for one, inputs in wanted]
    assert len({canvas.batch_key for canvas in canvases}) == 1
    stocked.studio.step(canvases)
    for ours, (one, inputs) in zip(stocked.studio.finish(canvases), wanted, strict=True):
        assert difference(ours, stocked.oracle.paint(one, inputs)) <= 1


@pytest.mark.parametrize("name", FEATURES)
def test_after_neighbours_that_left(stocked: Everything, name: str) -> None:
    """One shared its step, another had a blend."""
    one, inputs = FEATURES[name](stocked)
    begun = [one, replace(one, seed=11), *([blended(stocked, replace(one, seed=12))] if name in BLENDED else [])]
    canvases = [stocked.studio.engine.begin(recipe, 0, inputs) for recipe in begun]
    stocked.studio.step(canvases, steps=1)
    stocked.studio.step(canvases[:1])
    assert difference(stocked.studio.engine.finish(canvases[0]).result(), stocked.oracle.paint(one, inputs)) <= 1
