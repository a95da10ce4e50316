"""Copies of the demo checkpoint that differ from it in one respect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdxl_gateway.config import DEMO_MODEL

UNET_FILE = Path("unet/diffusion_pytorch_model.safetensors")
VAE_FILE = Path("vae/diffusion_pytorch_model.safetensors")
SHALLOW = {
    "block_out_channels": [32, 64],
    "attention_head_dim": [2, 4],
    "layers_per_block": 1,
    "transformer_layers_per_block": [1, 1],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}


def copy_of_demo(folder: Path) -> Path:
    shutil.copytree(DEMO_MODEL, folder)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def change_weights(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def inpainting_demo(folder: Path) -> Path:
    """Its UNet has five more input channels, for the mask and the masked image."""
    copy_of_demo(folder)

    def upcast(tensors: dict[str, Tensor]) -> None:
        weight = tensors["conv_in.weight"]
        rows, _, height, width = weight.shape
        more = torch.randn(rows, 5, height, width, generator=torch.Generator().manual_seed(5)) * 0.1
        tensors["conv_in.weight"] = torch.cat([weight, more.to(weight.dtype)], dim=1)

    change_json(folder / "unet" / "config.json", in_channels=9)
    change_weights(folder / UNET_FILE, upcast)
    return folder


def full_vocabulary_demo(folder: Path) -> Path:
    """Its text encoders have CLIP's whole vocabulary, with the special tokens' ids set as in SDXL's; no tokenizers."""
    copy_of_demo(folder)
    for seed, name in enumerate(("text_encoder", "text_encoder_2")):
        change_json(folder / name / "config.json", vocab_size=49408, bos_token_id=0, eos_token_id=2, pad_token_id=1)
        change_weights(folder / name / "model.safetensors", partial(_more_tokens, seed=seed))
        shutil.rmtree(folder / name.replace("text_encoder", "tokenizer"))
    return folder


def _more_tokens(tensors: dict[str, Tensor], seed: int) -> None:
    name = next(name for name in tensors if name.endswith("token_embedding.weight"))
    width = tensors[name].shape[1]
    tensors[name] = torch.randn(49408, width, generator=torch.Generator().manual_seed(seed)).to(tensors[name].dtype)


def distilled_demo(folder: Path) -> Path:
    """Its UNet takes the guidance scale as an input."""
    copy_of_demo(folder)

    def add_projection(tensors: dict[str, Tensor]) -> None:
        channels = tensors["conv_in.weight"].shape[0]
        weight = torch.randn(channels, 33, generator=torch.Generator().manual_seed(6)) * 0.3
        tensors["time_embedding.cond_proj.weight"] = weight.to(tensors["conv_in.weight"].dtype)

    change_json(folder / "unet" / "config.json", time_cond_proj_dim=33)
    change_weights(folder / UNET_FILE, add_projection)
    return folder


def shallow_demo(folder: Path, seed: int = 8) -> Path:
    """Its UNet has two levels of one layer, with random weights: a quarter of the calls to trace."""
    copy_of_demo(folder)
    config = json.loads((folder / "unet" / "config.json").read_text("utf-8"))
    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel.from_config(config | SHALLOW)
    unet.save_pretrained(folder / "unet")
    return folder
