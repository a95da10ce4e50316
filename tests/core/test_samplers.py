"""Sampler names as people write them."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.samplers import SAMPLERS, sampler_name


@pytest.mark.parametrize("name", SAMPLERS)
def test_served_names_are_themselves(name: str) -> None:
    assert sampler_name(name) == sampler_name(name.upper()) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Euler", "euler"),
        ("Euler a", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("k_euler_ancestral", "euler_a"),
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("EulerDiscreteScheduler", "euler"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("dpmpp_2m-karras", "dpmpp_2m_karras"),
        ("DPMSolverMultistepScheduler", "dpmpp_2m"),
        ("DDIM", "ddim"),
        ("UniPC", "unipc"),
        ("uni_pc", "unipc"),
        ("LCM", "lcm"),
        ("LCMScheduler", "lcm"),
    ],
)
def test_spellings(text: str, name: str) -> None:
    assert sampler_name(text) == name


@pytest.mark.parametrize("text", ["", "PLMS", "DPM++ 2S a", "DPM adaptive", "DPM2 a", "heun", "euler b", "+++"])
def test_samplers_that_are_not_served(text: str) -> None:
    assert sampler_name(text) is None
