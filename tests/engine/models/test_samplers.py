"""Schedules: the timesteps of each sampler, with SDXL's own scheduler config, are those of diffusers."""

from __future__ import annotations

import inspect

import diffusers
import pytest

from sdxl_gateway.core.samplers import SAMPLERS
from sdxl_gateway.engine.models.samplers import SamplerFactory

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SDXL = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
LEADING, TRAILING = [751, 501, 251, 1], [999, 749, 499, 249]


@pytest.mark.parametrize(("schedule", "steps"), [("trailing", TRAILING), ("leading", LEADING), ("normal", LEADING)])
def test_four_euler_steps(schedule: str, steps: list[int]) -> None:
    sampler = SamplerFactory(SDXL).make("euler", 4, schedule)
    assert sampler.timesteps.tolist() == steps


def test_trailing_begins_as_strong_as_diffusers_does() -> None:
    ours = SamplerFactory(SDXL).make("euler", 4, "trailing")
    theirs = diffusers.EulerDiscreteScheduler.from_config(SDXL, timestep_spacing="trailing")
    theirs.set_timesteps(4)
    assert ours.sigmas.tolist() == theirs.sigmas.tolist()
    assert float(ours.init_noise_sigma) == float(theirs.init_noise_sigma) > 14


def test_samplers_of_other_schedules_stay_apart() -> None:
    factory = SamplerFactory(SDXL)
    found = [factory.make("euler", 4, schedule).timesteps.tolist() for schedule in ("trailing", "normal", "trailing")]
    assert found == [TRAILING, LEADING, TRAILING]


def test_a_checkpoint_that_says_trailing_itself() -> None:
    factory = SamplerFactory(SDXL | {"timestep_spacing": "trailing"})
    assert factory.make("euler", 4).timesteps.tolist() == TRAILING
    assert factory.make("euler", 4, "leading").timesteps.tolist() == LEADING


@pytest.mark.parametrize("name", ["euler", "euler_a", "ddim", "unipc", "lcm", "tcd", "dpmpp_2m", "deis"])
def test_four_trailing_steps_of_a_few_step_lora(name: str) -> None:
    assert SamplerFactory(SDXL).make(name, 4, "trailing").timesteps.tolist() == TRAILING


@pytest.mark.parametrize("steps", [1, 2, 3, 25, 30, 50])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_calls_the_unet_as_often_as_its_row_says(name: str, steps: int) -> None:
    for schedule in SAMPLERS[name].schedules:
        made = SamplerFactory(SDXL).make(name, steps, schedule)
        assert len(made.timesteps) == SAMPLERS[name].unet_calls(steps, steps)
        assert made.order == SAMPLERS[name].order


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_schedules_are_those_that_diffusers_has(name: str) -> None:
    made = SamplerFactory(SDXL).make(name, 2)
    options = set(inspect.signature(type(made).__init__).parameters)
    by_noise = [one for one in ("karras", "exponential", "beta") if f"use_{one}_sigmas" in options]
    spaced = ["trailing", "leading"] if "timestep_spacing" in options else []
    if name in ("lcm", "tcd"):  # they accept the option, but ignore it
        spaced = ["trailing"]
    assert list(SAMPLERS[name].schedules) == ["normal", *by_noise, *spaced]


def test_a_checkpoint_that_asks_for_karras_itself() -> None:
    factory = SamplerFactory(SDXL | {"use_karras_sigmas": True})
    plain = SamplerFactory(SDXL)
    for schedule, like in (("normal", "karras"), ("beta", "beta"), ("trailing", "trailing")):
        ours, theirs = factory.make("euler", 4, schedule), plain.make("euler", 4, like)
        assert ours.sigmas.tolist() == theirs.sigmas.tolist()
