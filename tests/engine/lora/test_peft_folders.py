"""Folders written by PEFT itself: rank and alpha patterns, rank stabilisation, DoRA, one component or several."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from tests.engine.lora.kit import WEIGHTS, assert_one_rounding
from tests.engine.lora.press import Press, open_press, small_components

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

ATTENTION = ["attn1.to_q", "attn2.to_k", "attn1.to_out.0"]
ENCODER = ["q_proj", "fc1"]
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "UNet": ("unet", {"target_modules": ATTENTION}),
    "UNet, convolutions": ("unet", {"target_modules": ["conv1", "conv_shortcut", "to_v"]}),
    "UNet, rank-stabilised": ("unet", {"target_modules": ATTENTION, "use_rslora": True}),
    "UNet, patterns": (
        "unet",
        {
            "target_modules": ATTENTION,
            "rank_pattern": {"attn2.to_k": 5, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 1},
            "alpha_pattern": {"attn2.to_k": 7, "attn1.to_out.0": 3},
        },
    ),
    "UNet, patterns, rank-stabilised": (
        "unet",
        {"target_modules": ATTENTION, "rank_pattern": {"to_q": 6}, "alpha_pattern": {"to_k": 5}, "use_rslora": True},
    ),
    "UNet, DoRA": ("unet", {"target_modules": [*ATTENTION, "conv1"], "use_dora": True}),
    "first encoder": ("text_encoder", {"target_modules": ENCODER}),
    "second encoder, DoRA": ("text_encoder_2", {"target_modules": ENCODER, "use_dora": True}),
}


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    with open_press(tmp_path_factory.mktemp("data"), small_components()) as one:
        yield one


def train(model: nn.Module, folder: Path, **options: Any) -> dict[str, Tensor]:
    """A folder saved by PEFT, and the weights that PEFT computes from it, in float64, by parameter name."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "init_lora_weights": False} | options)
    trained = get_peft_model(copy.deepcopy(model), config)
    for name, value in trained.named_parameters():
        if "lora_magnitude_vector" in name:
            value.data.mul_(torch.rand_like(value) + 0.5)
        elif "lora_" in name:
            value.data.copy_(torch.randn_like(value) * 0.2)
    trained.save_pretrained(str(folder), save_embedding_layers=False)
    merged = trained.double().merge_and_unload()
    return {name: value.detach() for name, value in merged.named_parameters()}


def assert_printed(press: Press, component: str, merged: dict[str, Tensor], strength: float) -> None:
    changed = 0
    for name, wanted in merged.items():
        before, now = press.base[f"{component}.{name}"].double(), press.weight(f"{component}.{name}")
        assert_one_rounding(now, before + strength * (wanted - before))
        changed += bool((wanted - before).abs().max() > 1e-3)
    assert changed
    assert len([name for name in press.changed() if name.startswith(f"{component}.")]) == changed


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_means_what_peft_makes_of_it(press: Press, tmp_path: Path, name: str) -> None:
    component, options = CONFIGS[name]
    merged = train(press.components[component], tmp_path / "ink", **options)
    for strength in WEIGHTS:
        with press.printed(tmp_path / "ink", strength):
            assert_printed(press, component, merged, strength)


def test_a_folder_for_each_component_is_one_lora(press: Press, tmp_path: Path) -> None:
    merged = {
        component: train(press.components[component], tmp_path / "ink" / component, target_modules=target, **options)
        for component, target, options in (
            ("unet", ATTENTION, {"use_rslora": True}),
            ("text_encoder", ENCODER, {}),
            ("text_encoder_2", ENCODER, {"r": 2}),
        )
    }
    with press.printed(tmp_path / "ink", 0.5):
        for component, weights in merged.items():
            assert_printed(press, component, weights, 0.5)
