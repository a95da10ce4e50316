"""Combinations of features paint the same picture as diffusers' own pipelines with all of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.recipe import Task
from tests.kit.engine import contrast, difference
from tests.kit.everything import Everything, opened
from tests.kit.features import FEATURES, LONG, Asked, Feature, controlled, guided_by, plain, refined, words

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]


def together(*features: Feature) -> Feature:
    """A recipe with everything that these features change in a plain one, and all their pictures."""

    def made(house: Everything) -> Asked:
        common, _ = plain(house)
        changes: dict[str, Any] = {}
        pictures: dict[str, Any] = {}
        for feature in features:
            one, inputs = feature(house)
            changes |= {name: value for name in one.__slots__ if (value := getattr(one, name)) != getattr(common, name)}
            pictures |= inputs.pictures
        return replace(common, **changes), Inputs(pictures)

    return made


def blended(house: Everything) -> Asked:
    one, inputs = plain(house)
    return replace(one, blend=house.blend), inputs


CANNY = partial(controlled, names=("canny",))
BOTH = partial(controlled, names=("canny", "depth"))
INSIDE = partial(controlled, names=("canny",), start=0.2, end=0.7)
PAINTED_OVER = partial(plain, task=Task.INPAINT)
REPAINTED = partial(plain, task=Task.INPAINT, strength=1.0)

COMBINATIONS: dict[str, Feature] = {
    "refiner, control": together(refined, CANNY),
    "refiner, two controls and a blend": together(refined, BOTH, blended),
    "refiner, a control inside the run": together(refined, INSIDE),
    "refiner, references": together(refined, guided_by),
    "refiner, references, control and a blend": together(refined, guided_by, CANNY, blended),
    "refiner after a picture, references": together(partial(refined, task=Task.IMAGE_TO_IMAGE), guided_by),
    "refiner after an inpaint": together(refined, PAINTED_OVER),
    "refiner after an inpaint from noise": together(refined, REPAINTED),
    "refiner after an inpaint, fresh noise": together(partial(refined, sampler="euler_a"), PAINTED_OVER),
    "refiner after an inpaint, second order": together(partial(refined, sampler="heun"), PAINTED_OVER),
    "refiner after an inpaint, control": together(refined, PAINTED_OVER, CANNY),
    "refiner after nine channels": together(refined, PAINTED_OVER, partial(plain, checkpoint="nine")),
    "references, control and a blend": together(guided_by, CANNY, blended),
    "references, two controls, a blend and an inpaint": together(guided_by, BOTH, blended, PAINTED_OVER),
    "references and controls of a union": together(guided_by, partial(controlled, names=("union",))),
    "long prompt, control, references and a blend": together(
        partial(words, prompt=LONG, max_chunks=32), CANNY, guided_by, blended
    ),
    "enlarged, control and refiner": together(FEATURES["enlarging by a net"], CANNY, refined),
}


ALL_MODELS = (
    "refiner, references, control and a blend",
    "refiner after an inpaint, control",
    "refiner after nine channels",
)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_picture_diffusers_paints(stocked: Everything, name: str) -> None:
    one, inputs = COMBINATIONS[name](stocked)
    theirs = stocked.oracle.paint(one, inputs)
    assert contrast(theirs) > 20
    assert difference(stocked.studio.paint(one, inputs), theirs) <= 1


@pytest.mark.parametrize("mode", ["balanced", "low"])
def test_where_weights_are_changes_none(stocked: Everything, mode: str) -> None:
    made = opened(stocked.config, mode=mode)
    for name in ALL_MODELS:
        one, inputs = COMBINATIONS[name](stocked)
        assert made.paint(one, inputs) == stocked.studio.paint(one, inputs), name
    made.engine.close()


def test_in_a_mixed_batch_with_a_neighbour_that_leaves(stocked: Everything) -> None:
    """Each picture passes through two models; those that cannot share a step take turns."""
    asked = [COMBINATIONS[name](stocked) for name in COMBINATIONS]
    canvases = [stocked.studio.engine.begin(one, 0, inputs) for one, inputs in asked]
    stocked.studio.step(canvases, steps=2)
    stocked.studio.step(canvases[1:])
    for ours, (one, inputs) in zip(stocked.studio.finish(canvases[1:]), asked[1:], strict=True):
        assert difference(ours, stocked.oracle.paint(one, inputs)) <= 1


def test_long_prompts_beside_short_ones(stocked: Everything) -> None:
    long, _ = words(stocked, LONG, max_chunks=32)
    short, _ = plain(stocked)
    asked = [long, short, replace(long, seed=1, sampler="dpmpp_2m"), replace(short, seed=2), replace(short, steps=3)]
    canvases = [stocked.studio.engine.begin(one, 0, NO_INPUTS) for one in asked]
    assert [canvas.batch_key == canvases[0].batch_key for canvas in canvases] == [True, False, True, False, False]
    stocked.studio.step(canvases)
    for ours, one in zip(stocked.studio.finish(canvases), asked, strict=True):
        assert difference(ours, stocked.oracle.paint(one)) <= 1
