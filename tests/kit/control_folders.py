"""Makes ControlNets for the demo checkpoint from its UNet, with random values where diffusers starts with zeros."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
from torch import nn

from sdxl_gateway.config import DEMO_MODEL

UNION_WIDTH = 32
"""The channels of the demo's first block, which is the width of a union's transformer."""


@cache
def _unet() -> Any:
    return UNet2DConditionModel.from_pretrained(DEMO_MODEL, subfolder="unet", local_files_only=True).float()


def _speaking(model: Any, seed: int) -> Any:
    """Randomizes the layers that diffusers initializes with zeros, so that the model has an effect."""
    generator = torch.Generator().manual_seed(seed)
    silent = [model.controlnet_mid_block, *model.controlnet_down_blocks, model.controlnet_cond_embedding.conv_out]
    for layer in silent:
        _randomise(layer, generator)
    return model.eval()


def _randomise(layer: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for value in layer.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.15)


def control_model(seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return _speaking(ControlNetModel.from_unet(_unet()), seed)


def union_model(seed: int = 1) -> Any:
    torch.manual_seed(seed)
    config = dict(ControlNetModel.from_unet(_unet(), load_weights_from_unet=False).config)
    known = {key: value for key, value in config.items() if key != "mid_block_type" and not key.startswith("_")}
    model = ControlNetUnionModel(**known, num_trans_channel=UNION_WIDTH, num_proj_channel=UNION_WIDTH)
    with torch.no_grad():
        model.task_embedding.copy_(torch.randn(model.task_embedding.shape))
        model.spatial_ch_projs.weight.copy_(torch.randn(model.spatial_ch_projs.weight.shape) * 0.3)
    return _speaking(model, seed)


def control_folder(folder: Path, seed: int = 1) -> Path:
    control_model(seed).save_pretrained(folder)
    return folder


def union_folder(folder: Path, seed: int = 1) -> Path:
    union_model(seed).save_pretrained(folder)
    return folder
