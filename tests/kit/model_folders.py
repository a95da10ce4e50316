"""Takes the demo checkpoint, gives folders like it that differ in one respect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdxl_gateway.config import DEMO_MODEL

UNET_FILE = Path("unet/diffusion_pytorch_model.safetensors")
VAE_FILE = Path("vae/diffusion_pytorch_model.safetensors")


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
    """Its UNet takes the mask and the kept image as five more channels."""
    copy_of_demo(folder)

    def upcast(tensors: dict[str, Tensor]) -> None:
        weight = tensors["conv_in.weight"]
        rows, _, height, width = weight.shape
        more = torch.randn(rows, 5, height, width, generator=torch.Generator().manual_seed(5)) * 0.1
        tensors["conv_in.weight"] = torch.cat([weight, more.to(weight.dtype)], dim=1)

    change_json(folder / "unet" / "config.json", in_channels=9)
    change_weights(folder / UNET_FILE, upcast)
    return folder


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
