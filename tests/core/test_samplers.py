"""Samplers and schedules by the names people write, and how often a sampler calls the UNet."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.samplers import (
    SAMPLERS,
    SCHEDULES,
    Sampling,
    near_samplers,
    read_sampler,
    read_schedule,
)


@pytest.mark.parametrize("name", SAMPLERS)
def test_served_names_and_titles_are_themselves(name: str) -> None:
    assert read_sampler(name) == read_sampler(name.upper()) == read_sampler(SAMPLERS[name].title) == Sampling(name)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_schedule_may_follow_a_sampler(name: str, schedule: str) -> None:
    joined = Sampling(name, schedule)
    assert read_sampler(f"{name}_{schedule}") == read_sampler(f"{SAMPLERS[name].title} {schedule.title()}") == joined


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Euler", "euler"),
        ("EulerDiscreteScheduler", "euler"),
        ("sample_euler", "euler"),
        ("Euler a", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("k_euler_ancestral", "euler_a"),
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("Heun", "heun"),
        ("HeunDiscreteScheduler", "heun"),
        ("DPM2", "dpm_2"),
        ("KDPM2DiscreteScheduler", "dpm_2"),
        ("DPM2 a", "dpm_2_a"),
        ("sample_dpm_2_ancestral", "dpm_2_a"),
        ("KDPM2AncestralDiscreteScheduler", "dpm_2_a"),
        ("LMS", "lms"),
        ("LMSDiscreteScheduler", "lms"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("k_dpmpp_2m", "dpmpp_2m"),
        ("DPMSolverMultistepScheduler", "dpmpp_2m"),
        ("DPMSolver++", "dpmpp_2m"),
        ("DPM++ 2M SDE", "dpmpp_2m_sde"),
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde"),
        ("DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun"),
        ("DPM++ 3M SDE", "dpmpp_3m_sde"),
        ("DPM++ SDE", "dpmpp_sde"),
        ("DPMSolverSinglestepScheduler", "dpmpp_2s"),
        ("DDIM", "ddim"),
        ("DDIMScheduler", "ddim"),
        ("DDPMScheduler", "ddpm"),
        ("PLMS", "pndm"),
        ("PNDM", "pndm"),
        ("PNDMScheduler", "pndm"),
        ("UniPC", "unipc"),
        ("uni_pc", "unipc"),
        ("UniPCMultistepScheduler", "unipc"),
        ("DEIS", "deis"),
        ("DEISMultistepScheduler", "deis"),
        ("LCM", "lcm"),
        ("LCMScheduler", "lcm"),
        ("TCDScheduler", "tcd"),
    ],
)
def test_spellings(text: str, name: str) -> None:
    assert read_sampler(text) == Sampling(name)


@pytest.mark.parametrize(
    ("text", "name", "schedule"),
    [
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("dpmpp_2m-karras", "dpmpp_2m", "karras"),
        ("k_dpmpp_2m_ka", "dpmpp_2m", "karras"),
        ("DPMSolverMultistepScheduler Karras", "dpmpp_2m", "karras"),
        ("DPM++ 2M SDE Karras", "dpmpp_2m_sde", "karras"),
        ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"),
        ("DPM2 a Karras", "dpm_2_a", "karras"),
        ("Euler SGM Uniform", "euler", "trailing"),
        ("euler_simple", "euler", "trailing"),
        ("ddim_uniform", "ddim", "normal"),
    ],
)
def test_joined_spellings(text: str, name: str, schedule: str) -> None:
    assert read_sampler(text) == Sampling(name, schedule)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("DPM++ 2S a", "dpmpp_2s"),
        ("DPM++ 2S a Karras", "dpmpp_2s"),
        ("DPM adaptive", "dpm_2"),
        ("DPM fast", "dpm_2_a"),
        ("DPMSolverSDEScheduler", "dpmpp_2m"),
        ("IPNDMScheduler", "pndm"),
        ("heunpp2", "heun"),
        ("euler b", "euler"),
        ("+++", "dpmpp_2m"),
    ],
)
def test_samplers_that_are_not_served(text: str, near: str) -> None:
    assert read_sampler(text) is None
    assert near in near_samplers(text)


@pytest.mark.parametrize("text", ["", "karras", "12345"])
def test_nothing_is_near_to_what_is_no_sampler(text: str) -> None:
    assert read_sampler(text) is None
    assert near_samplers("") == near_samplers("12345") == []


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("Karras", "karras"),
        ("SGM Uniform", "trailing"),
        ("sgm_uniform", "trailing"),
        ("Simple", "trailing"),
        ("ddim_uniform", "leading"),
        ("Automatic", "normal"),
        ("Uniform", "normal"),
        ("exponential", "exponential"),
        ("Beta", "beta"),
        ("Polyexponential", None),
        ("Align Your Steps", None),
        ("", None),
    ],
)
def test_spellings_of_schedules(text: str, schedule: str | None) -> None:
    assert read_schedule(text) == schedule


@pytest.mark.parametrize(
    ("name", "steps", "taken", "calls"),
    [
        ("euler", 4, 4, 4),
        ("heun", 4, 4, 7),
        ("heun", 4, 1, 1),
        ("dpm_2", 1, 1, 1),
        ("pndm", 4, 2, 3),
        ("pndm", 1, 1, 1),
    ],
)
def test_unet_calls(name: str, steps: int, taken: int, calls: int) -> None:
    assert SAMPLERS[name].unet_calls(steps, taken) == calls
