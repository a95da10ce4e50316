"""Schedules: which training steps a sampler goes through on a checkpoint of SDXL's own config, as diffusers' do."""

from __future__ import annotations

import diffusers
import pytest

from sdxl_gateway.engine.models.samplers import SamplerFactory

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

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
