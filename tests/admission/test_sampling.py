"""Samplers and schedules: whose word counts, which go together, and which field a refusal names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdxl_gateway.config import Checkpoint, HouseStyle
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES
from sdxl_gateway.gateway.capabilities import capabilities
from tests.kit.admission import DEMO, AdmissionKit, admission_kit

STYLES = {
    "karras": HouseStyle(sampler="DPM++ 2M Karras"),
    "apart": HouseStyle(sampler="heun", schedule="beta"),
    "swift": HouseStyle(sampler="lcm"),
}
LORAS = {"told": 'sampler = "dpmpp_2m_sde_karras"', "fresh": 'steps = 40\nsampler = "tcd"\neta = 0.3'}
MISSING = [(name, one) for name in SAMPLERS for one in SCHEDULES if one not in SAMPLERS[name].schedules]


@pytest.fixture
def home(tmp_path: Path) -> AdmissionKit:
    return admission_kit(tmp_path, LORAS, models=STYLES)


async def sampling(home: AdmissionKit, **fields: Any) -> tuple[str, str]:
    recipe = (await home.admit(**fields)).recipe
    return recipe.sampler, recipe.schedule


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, ("euler", "normal")),
        ({"sampler": "DPM++ 2M Karras"}, ("dpmpp_2m", "karras")),
        ({"sampler": "DPM++ 2M", "schedule": "Karras"}, ("dpmpp_2m", "karras")),
        ({"sampler": "DPM++ 2M Karras", "schedule": "karras"}, ("dpmpp_2m", "karras")),
        ({"sampler": "DPM++ 2M Karras", "schedule": "Automatic"}, ("dpmpp_2m", "karras")),
        ({"schedule": "SGM Uniform"}, ("euler", "trailing")),
        ({"model": "karras"}, ("dpmpp_2m", "karras")),
        ({"model": "karras", "schedule": "normal"}, ("dpmpp_2m", "normal")),
        ({"model": "karras", "sampler": "heun"}, ("heun", "normal")),
        ({"model": "apart"}, ("heun", "beta")),
        ({"model": "apart", "sampler": "dpm_2"}, ("dpm_2", "beta")),
        ({"model": "apart", "sampler": "ddim"}, ("ddim", "normal")),
        ({"model": "apart", "sampler": "euler_karras"}, ("euler", "karras")),
        ({"model": "told"}, ("dpmpp_2m_sde", "karras")),
        ({"model": "told", "sampler": "euler"}, ("euler", "normal")),
    ],
)
async def test_whose_word_counts(home: AdmissionKit, fields: dict[str, Any], meant: tuple[str, str]) -> None:
    assert await sampling(home, **fields) == meant


async def test_a_checkpoints_schedule_and_its_joined_sampler(tmp_path: Path) -> None:
    sections = {"demo": DEMO, "sharp": Checkpoint(path="demo", sampler="DPM++ 2M Karras", schedule="exponential")}
    home = admission_kit(tmp_path, checkpoints=sections)
    assert await sampling(home, model="sharp") == ("dpmpp_2m", "exponential")


@pytest.mark.parametrize(("sampler", "schedule"), MISSING)
async def test_what_diffusers_does_not_have_names_the_schedule(home: AdmissionKit, sampler: str, schedule: str) -> None:
    error = await refusal(home, sampler=sampler, schedule=schedule)
    assert error.param == "schedule"
    assert f"The sampler {sampler} has no schedule {schedule}" in error.message
    joined = await refusal(home, sampler=f"{sampler}_{schedule}")
    assert joined.param == "sampler"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"sampler": "DPM adaptive"}, "sampler", "The nearest are dpmpp_sde, dpm_2, dpmpp_2m"),
        ({"sampler": "DPM++ 2S a Karras"}, "sampler", "The nearest are dpmpp_2s"),
        ({"sampler": "12345"}, "sampler", "Invalid value: '12345'. Supported values are: euler, euler_a"),
        ({"schedule": "Polyexponential"}, "schedule", "Supported values are: normal, karras"),
        ({"sampler": "Euler Karras", "schedule": "beta"}, "schedule", "names the schedule karras"),
        ({"model": "swift", "schedule": "karras"}, "schedule", "The sampler lcm has no schedule karras"),
    ],
)
async def test_refusals(home: AdmissionKit, fields: dict[str, Any], param: str, words: str) -> None:
    error = await refusal(home, **fields)
    assert (error.param, words in error.message) == (param, True), error.message


async def test_fresh_noise(home: AdmissionKit) -> None:
    assert (await home.admit()).recipe.eta == 0
    assert (await home.admit(model="fresh")).recipe.eta == 0.3
    assert (await home.admit(model="fresh", eta=0.0)).recipe.eta == 0
    assert (await home.admit(model="fresh", sampler="euler")).recipe.eta == 0
    ddim = await home.admit(sampler="ddim", eta=0.5)
    assert (ddim.recipe.eta, ddim.warnings) == (0.5, ())
    (warning,) = (await home.admit(eta=0.5)).warnings
    assert "the sampler euler takes none" in warning


async def test_rescaled_guidance(home: AdmissionKit) -> None:
    found = await home.admit(guidance_rescale=0.7, guidance_scale=5.0)
    assert (found.recipe.guidance_rescale, found.warnings) == (0.7, ())
    (warning,) = (await home.admit(guidance_rescale=0.7, guidance_scale=1.0)).warnings
    assert "guidance_rescale" in warning


async def test_where_guidance_ends(tmp_path: Path) -> None:
    """The request's word goes before the style's, and that before the checkpoint's."""
    sections = {"demo": Checkpoint(path="demo", guidance_scale=5.0, guidance_end=0.8)}
    home = admission_kit(tmp_path, checkpoints=sections, models={"quick": HouseStyle(guidance_end=0.4)})
    asked: list[dict[str, Any]] = [{}, {"model": "quick"}, {"guidance_end": 0.5}]
    ends = [(await home.admit(**fields)).recipe.guidance_end for fields in asked]
    assert ends == [0.8, 0.4, 0.5]
    assert capabilities(home.checkpoints["demo"], home.settings).get("guidance_end") == 0.8
    assert (await home.admit(guidance_scale=1.0)).warnings == ()
    (warning,) = (await home.admit(guidance_scale=1.0, guidance_end=0.5)).warnings
    assert "guidance_end" in warning


async def refusal(home: AdmissionKit, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await home.admit(**fields)
    return caught.value
