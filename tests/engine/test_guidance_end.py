"""Guidance in the first steps only: later steps are one row of the UNet's batch, whatever else is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sdxl_gateway.core.events import StepTaken
from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.scheduling.costs import mean_work
from tests.kit.engine import Studio, contrast, difference, mask, photo, recipe
from tests.kit.everything import Everything
from tests.kit.features import Feature, controlled, guided_by, plain, refined
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PHOTO = Inputs({"image": photo()})
REPAINT = Inputs({"image": photo(), "mask": mask()})
TASKS = {Task.TEXT_TO_IMAGE: NO_INPUTS, Task.IMAGE_TO_IMAGE: PHOTO, Task.INPAINT: REPAINT}


def ending(end: float = 0.5, **changes: Any) -> Recipe:
    usual: dict[str, Any] = {"steps": 5, "negative_prompt": "green", "guidance_end": end}
    return recipe(**(usual | changes))


@contextmanager
def rows_counted(studio: Studio) -> Iterator[list[int]]:
    """The rows of each call of the demo's UNet."""
    rows: list[int] = []
    unet = studio.loaded().checkpoint.unet
    hook = unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    yield rows
    hook.remove()


@pytest.mark.parametrize(("sampler", "end"), [("euler", 0.5), ("heun", 0.5), ("dpmpp_2m", 0.8)])
def test_the_picture_diffusers_paints(demo: Studio, reference: Reference, sampler: str, end: float) -> None:
    wanted = ending(end, sampler=sampler)
    ours, theirs = demo.paint(wanted), reference.paint(wanted)
    assert contrast(theirs) > 20
    assert difference(ours, theirs) <= 1
    assert difference(ours, demo.paint(replace(wanted, guidance_end=1.0))) > 1


@pytest.mark.parametrize("task", [Task.IMAGE_TO_IMAGE, Task.INPAINT])
def test_from_a_picture(demo: Studio, reference: Reference, task: Task) -> None:
    wanted = ending(task=task, strength=0.8, guidance_rescale=0.7)
    assert difference(demo.paint(wanted, TASKS[task]), reference.paint(wanted, TASKS[task])) <= 1


def test_the_steps_after_it_are_one_row(demo: Studio) -> None:
    wanted = ending(0.6)
    demo.told.clear()
    with rows_counted(demo) as rows:
        demo.paint(wanted)
    assert rows == [2, 2, 2, 1, 1]
    works = [step.work for step in demo.told if isinstance(step, StepTaken)]
    assert [round(work * 1e6 / 64**2) for work in works] == rows
    assert sum(works) == pytest.approx(mean_work(wanted) * wanted.denoise_steps)


def test_an_end_at_the_first_step_is_no_guidance(demo: Studio) -> None:
    with rows_counted(demo) as rows:
        ours = demo.paint(ending(0.0))
    assert rows == [1] * 5
    assert difference(ours, demo.paint(recipe(steps=5, guidance_scale=1.0))) == 0


def test_side_by_side_each_ends_for_itself(demo: Studio) -> None:
    """Also for those that begin later; one leaves."""
    wanted = [ending(0.2), ending(0.6, seed=11, sampler="heun"), ending(1.0, seed=12), ending(0.4, seed=13)]
    alone = [demo.paint(one) for one in wanted]
    canvases = [demo.engine.begin(one, 0, NO_INPUTS) for one in wanted[:3]]
    with rows_counted(demo) as rows:
        demo.step(canvases, steps=2)
        canvases[2] = demo.engine.begin(wanted[3], 0, NO_INPUTS)
        assert len({canvas.batch_key for canvas in canvases}) == 1
        demo.step(canvases)
    assert rows == [2 + 2 + 2, 1 + 2 + 2, 1 + 2 + 2, 1 + 2 + 2, 1 + 2 + 1, 1 + 1, 1 + 1, 1, 1]
    for ours, theirs in zip(demo.finish(canvases), [*alone[:2], alone[3]], strict=True):
        assert difference(ours, theirs) <= 1


def test_a_detail_pass_is_as_the_last_step(demo: Studio, reference: Reference) -> None:
    wanted = ending(0.6, steps=6)
    painted = demo.paint(wanted)
    over = replace(wanted, task=Task.IMAGE_TO_IMAGE, strength=0.5, guidance_scale=1.0)
    theirs = reference.paint(over, Inputs({"image": painted}))
    assert difference(demo.paint(replace(wanted, detail=0.5)), theirs) <= 1


@pytest.mark.parametrize(
    "feature",
    [
        partial(plain, task=Task.INPAINT, checkpoint="nine"),
        guided_by,
        partial(controlled, names=("union",)),
        partial(refined, share=0.8),
        partial(refined, share=0.4),
    ],
)
def test_it_goes_on_as_a_picture_without_guidance(stocked: Everything, feature: Feature) -> None:
    """Euler has no state: with any feature, the later steps equal those of a picture without guidance."""
    given, inputs = feature(stocked)
    wanted = replace(given, guidance_end=0.6)
    engine, step = stocked.studio.engine, stocked.studio.step
    canvas = engine.begin(wanted, 0, inputs)
    step([canvas], wanted.guided_steps)
    other = engine.begin(replace(wanted, guidance_scale=1.0), 0, inputs)
    step([other], wanted.guided_steps)
    other.latents = canvas.latents
    step([canvas])
    step([other])
    assert difference(engine.finish(canvas).result(), engine.finish(other).result()) == 0
    assert difference(engine.finish(canvas).result(), stocked.studio.paint(given, inputs)) > 1


def test_beside_a_guided_picture_with_a_union(stocked: Everything) -> None:
    """A union's rows depend on each other, so that only canvases with equally many rows share a call."""
    given, inputs = controlled(stocked, ("union",))
    wanted = [replace(given, guidance_end=0.5), replace(given, seed=11)]
    alone = [stocked.studio.paint(one, inputs) for one in wanted]
    canvases = [stocked.studio.engine.begin(one, 0, inputs) for one in wanted]
    stocked.studio.step(canvases)
    for ours, theirs in zip(stocked.studio.finish(canvases), alone, strict=True):
        assert difference(ours, theirs) <= 1
