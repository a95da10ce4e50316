"""Few-step LoRAs are known by the names they are published under, and pictures of lightning are none."""

from __future__ import annotations

import pytest

from sdxl_gateway.catalog.lora_format.few_steps import schedule_of


@pytest.mark.parametrize(
    "name",
    [
        "sdxl_lightning_4step_lora",
        "SDXL-Lightning/sdxl_lightning_8step_lora",
        "lightning-4steps",
        "8step_lightning",
        "SDXL Lightning LoRA",
        "Hyper-SDXL-4steps-lora",
        "Hyper-SDXL-8steps-CFG-lora",
        "hyper_sd_8step",
        "hyper-8steps",
        "lcm-lora-sdxl/pytorch_lora_weights",
        "LCM_SDXL",
        "dmd2_sdxl_4step_lora",
        "pcm_sdxl_normalcfg_8step",
        "TCD-SDXL-LoRA",
        "sd_xl_turbo_lora_v1",
    ],
)
def test_published_names(name: str) -> None:
    assert schedule_of(name, {}) == "trailing"
    assert schedule_of("renamed", {"ss_output_name": name}) == "trailing"
    assert schedule_of("renamed", {"modelspec.title": name}) == "trailing"


@pytest.mark.parametrize(
    "name",
    ["lightning", "lightning-strikes-xl", "hyper-realistic", "hyperdetail", "calcmachine", "step-by-step", "ink", ""],
)
def test_subjects_of_pictures(name: str) -> None:
    assert schedule_of(name, {"ss_sd_model_name": "sdxl_lightning_4step.safetensors"}) is None


def test_a_long_name_costs_little() -> None:
    assert schedule_of("1" * 10**6, {"modelspec.title": "1step " * 10**6}) is None
