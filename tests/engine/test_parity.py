"""Pictures equal those of diffusers' pipelines with the same folder, within one step of 255 for every channel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_gateway.core.picture import NO_INPUTS, Inputs
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.recipe import Recipe, Task
from sdxl_gateway.core.samplers import SAMPLERS
from tests.kit.engine import Studio, contrast, difference, mask, photo, recipe
from tests.kit.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PHOTO = Inputs({"image": photo()})
REPAINT = Inputs({"image": photo(), "mask": mask()})


def check(demo: Studio, reference: Reference, wanted: Recipe, inputs: Inputs = NO_INPUTS, index: int = 0) -> None:
    ours, theirs = demo.paint(wanted, inputs, index), reference.paint(wanted, inputs, index)
    assert contrast(theirs) > 20
    assert difference(ours, theirs) <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 4])
def test_text_to_image_with_every_sampler(demo: Studio, reference: Reference, sampler: str, steps: int) -> None:
    check(demo, reference, recipe(sampler=sampler, steps=steps))


@pytest.mark.parametrize(
    ("sampler", "schedule"), [(name, one) for name in SAMPLERS for one in SAMPLERS[name].schedules]
)
def test_every_schedule_of_every_sampler(demo: Studio, reference: Reference, sampler: str, schedule: str) -> None:
    check(demo, reference, recipe(sampler=sampler, steps=4, schedule=schedule))


@pytest.mark.parametrize("schedule", ["trailing", "leading"])
def test_schedules_of_an_image_to_image(demo: Studio, reference: Reference, schedule: str) -> None:
    check(demo, reference, recipe(task=Task.IMAGE_TO_IMAGE, strength=0.6, steps=5, schedule=schedule), PHOTO)


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 1.5, 9.0])
def test_guidance_on_and_off(demo: Studio, reference: Reference, guidance_scale: float) -> None:
    check(demo, reference, recipe(guidance_scale=guidance_scale, negative_prompt="a green square"))


@pytest.mark.parametrize("clip_skip", [1, 3])
@pytest.mark.parametrize("negative_prompt", ["", "a green square"])
def test_another_layer_of_the_text_encoders(
    demo: Studio, reference: Reference, clip_skip: int, negative_prompt: str
) -> None:
    wanted = recipe(negative_prompt=negative_prompt, reading=TextReading(clip_skip))
    check(demo, reference, wanted)
    assert difference(demo.paint(wanted), demo.paint(recipe(negative_prompt=negative_prompt))) > 1


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 104), (72, 56)])
def test_sizes_that_are_not_square(demo: Studio, reference: Reference, width: int, height: int) -> None:
    check(demo, reference, recipe(width=width, height=height, negative_prompt="yellow"))


def test_a_later_image_of_a_request_has_the_next_seed(demo: Studio, reference: Reference) -> None:
    check(demo, reference, recipe(sampler="euler_a"), index=2)
    assert difference(demo.paint(recipe(seed=7), index=2), demo.paint(recipe(seed=9))) == 0


def test_a_prompt_longer_than_the_encoders_read(demo: Studio, reference: Reference) -> None:
    check(demo, reference, recipe("a red circle and a blue square " * 20, steps=2))


@pytest.mark.parametrize("sampler", ["ddim", "tcd"])
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_fresh_noise(demo: Studio, reference: Reference, sampler: str, eta: float) -> None:
    check(demo, reference, recipe(sampler=sampler, steps=4, eta=eta))
    assert difference(demo.paint(recipe(sampler=sampler, steps=4, eta=eta)), demo.paint(recipe(sampler=sampler))) > 5


@pytest.mark.parametrize("guidance_rescale", [0.7, 1.0])
def test_rescaled_guidance(demo: Studio, reference: Reference, guidance_rescale: float) -> None:
    wanted = recipe(guidance_rescale=guidance_rescale, guidance_scale=9.0, negative_prompt="green")
    check(demo, reference, wanted)
    check(demo, reference, replace(wanted, task=Task.INPAINT, strength=0.8), REPAINT)
    assert difference(demo.paint(wanted), demo.paint(replace(wanted, guidance_rescale=0.0))) > 5


@pytest.mark.parametrize("strength", [0.3, 0.7])
@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpm_2_a", "lms", "pndm", "dpmpp_2s", "dpmpp_sde", "tcd", "deis"])
def test_the_longer_samplers_from_a_picture(demo: Studio, reference: Reference, sampler: str, strength: float) -> None:
    check(demo, reference, recipe(task=Task.IMAGE_TO_IMAGE, sampler=sampler, strength=strength, steps=5), PHOTO)
    check(demo, reference, recipe(task=Task.INPAINT, sampler=sampler, strength=strength, steps=5), REPAINT)


@pytest.mark.parametrize(
    "samplers",
    [
        ("heun", "dpm_2_a", "pndm", "dpmpp_2m_sde"),
        ("dpmpp_sde", "tcd", "lms", "deis"),
    ],
)
def test_a_batch_of_four_samplers(demo: Studio, reference: Reference, samplers: tuple[str, ...]) -> None:
    wanted = [recipe(sampler=name, seed=place, eta=0.3, steps=4) for place, name in enumerate(samplers)]
    canvases = [demo.engine.begin(one, 0, NO_INPUTS) for one in wanted]
    assert len({canvas.batch_key for canvas in canvases}) == 1
    while going := [canvas for canvas in canvases if canvas.steps_done < canvas.steps_total]:
        demo.engine.step(going)
    for canvas, one in zip(canvases, wanted, strict=True):
        assert canvas.steps_done == one.denoise_steps
        painted = demo.engine.finish(canvas).result()
        assert difference(painted, demo.paint(one)) <= 1
        assert difference(painted, reference.paint(one)) <= 1


@pytest.mark.parametrize(
    ("sampler", "strength"),
    [("euler", 0.5), ("euler", 1.0), ("euler_a", 0.8), ("ddim", 0.3), ("dpmpp_2m", 0.6), ("lcm", 0.75)],
)
def test_image_to_image(demo: Studio, reference: Reference, sampler: str, strength: float) -> None:
    check(demo, reference, recipe(task=Task.IMAGE_TO_IMAGE, sampler=sampler, strength=strength, steps=5), PHOTO)


@pytest.mark.parametrize(
    ("sampler", "strength"),
    [("euler", 1.0), ("euler", 0.6), ("euler_a", 0.8), ("lcm", 1.0), ("unipc", 0.7), ("ddim", 0.99)],
)
def test_inpainting(demo: Studio, reference: Reference, sampler: str, strength: float) -> None:
    check(demo, reference, recipe(task=Task.INPAINT, sampler=sampler, strength=strength, steps=5), REPAINT)


def test_inpainting_without_guidance_and_not_square(demo: Studio, reference: Reference) -> None:
    inputs = Inputs({"image": photo(96, 64), "mask": mask(96, 64)})
    wanted = recipe(task=Task.INPAINT, strength=0.8, guidance_scale=1.0, width=96, height=64, steps=4)
    check(demo, reference, wanted, inputs)


def test_canvases_of_other_lengths_joined_midway(demo: Studio, reference: Reference) -> None:
    wanted = [
        recipe("a red circle", steps=5, sampler="euler", seed=1),
        recipe("a blue square", steps=3, sampler="dpmpp_2m", seed=2, negative_prompt="red", guidance_scale=3.0),
        recipe("two stars", steps=4, sampler="lcm", seed=3, guidance_scale=8.0),
    ]
    first, second, third = [demo.engine.begin(one, 0, Inputs()) for one in wanted]
    assert first.batch_key == second.batch_key == third.batch_key
    for batch in ([first], [first, second], [third, first, second], [second, third, first], [third, first], [third]):
        demo.engine.step(batch)
    for canvas, one in zip((first, second, third), wanted, strict=True):
        assert canvas.steps_done == canvas.steps_total == one.steps
        assert difference(demo.engine.finish(canvas).result(), reference.paint(one)) <= 1


def test_tasks_share_a_batch(demo: Studio, reference: Reference) -> None:
    wanted = [recipe(steps=3), recipe(task=Task.IMAGE_TO_IMAGE, strength=0.5), recipe(task=Task.INPAINT, strength=0.9)]
    inputs = [Inputs(), PHOTO, REPAINT]
    canvases = [demo.engine.begin(one, 0, given) for one, given in zip(wanted, inputs, strict=True)]
    while going := [canvas for canvas in canvases if canvas.steps_done < canvas.steps_total]:
        demo.engine.step(going)
    for canvas, one, given in zip(canvases, wanted, inputs, strict=True):
        assert difference(demo.engine.finish(canvas).result(), reference.paint(one, given)) <= 1
