"""Few-step models are known by the names they are published under, and pictures of lightning are none."""

from __future__ import annotations

import pytest

from sdxl_gateway.catalog.lora_format.few_steps import FewSteps, few_steps, few_steps_checkpoint

LIGHTNING = FewSteps(4, 1.0, "euler", "trailing")
HYPER = FewSteps(8, 1.0, "ddim", "trailing")
TURBO = FewSteps(4, 1.0, "euler_a", "trailing")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sdxl_lightning_4step_lora", LIGHTNING),
        ("SDXL-Lightning/sdxl_lightning_8step_lora", FewSteps(8, 1.0, "euler", "trailing")),
        ("lightning-4steps", LIGHTNING),
        ("8step_lightning", FewSteps(8, 1.0, "euler", "trailing")),
        ("SDXL Lightning LoRA", LIGHTNING),
        ("Hyper-SDXL-4steps-lora", FewSteps(4, 1.0, "ddim", "trailing")),
        ("Hyper-SDXL-8steps-CFG-lora", FewSteps(8, None, "ddim", "trailing")),
        ("Hyper-SDXL-1step-lora", FewSteps(1, 1.0, "tcd", None, 1.0)),
        ("hyper_sd_8step", HYPER),
        ("hyper-8steps", HYPER),
        ("lcm-lora-sdxl/pytorch_lora_weights", FewSteps(4, 1.0, "lcm", None)),
        ("LCM_SDXL", FewSteps(4, 1.0, "lcm", None)),
        ("dmd2_sdxl_4step_lora", FewSteps(4, 1.0, "lcm", "trailing")),
        ("pcm_sdxl_normalcfg_8step", FewSteps(8, None, "ddim", "trailing")),
        ("pcm_sdxl_smallcfg_2step", FewSteps(2, 1.0, "ddim", "trailing")),
        ("TCD-SDXL-LoRA", FewSteps(4, 1.0, "tcd", None, 0.3)),
        ("sd_xl_turbo_lora_v1", TURBO),
    ],
)
def test_published_names(name: str, settings: FewSteps) -> None:
    assert few_steps(name, {}) == few_steps_checkpoint(name) == settings
    assert few_steps("renamed", {"ss_output_name": name}) == settings
    assert few_steps("renamed", {"modelspec.title": name}) == settings


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("juggernautXL_v9Lightning", LIGHTNING),
        ("dreamshaperXL_lightning_6steps", FewSteps(6, 1.0, "euler", "trailing")),
        ("RealVisXL_V5_Hyper", HYPER),
        ("dreamshaperXL_v21TurboDPMSDE", TURBO),
    ],
)
def test_names_that_tell_more_of_a_checkpoint(name: str, settings: FewSteps) -> None:
    assert few_steps_checkpoint(name) == settings
    assert few_steps(name, {}) is None or "steps" in name


@pytest.mark.parametrize(
    "name",
    ["lightning", "lightning-strikes-xl", "hyper-realistic", "hyperdetail", "calcmachine", "step-by-step", "ink", ""],
)
def test_subjects_of_pictures(name: str) -> None:
    assert few_steps(name, {"ss_sd_model_name": "sdxl_lightning_4step.safetensors"}) is None


@pytest.mark.parametrize("name", ["demo", "sdxl", "hyperrealism_xl", "pony-diffusion-v6"])
def test_checkpoints_that_were_not_distilled(name: str) -> None:
    assert few_steps_checkpoint(name) is None


def test_a_long_name_costs_little() -> None:
    assert few_steps("1" * 10**6, {"modelspec.title": "1step " * 10**6}) is None
