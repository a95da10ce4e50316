"""Makes LoRA files from a seed that change every attention layer of the UNet and of the text encoders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sdxl_gateway.catalog.lora_folder.copies import keep_copy
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.core.recipe import Blend, BlendPart

RANK = 4
UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


def write_lora(path: Path, folder: Path, seed: int, *, size: float = 0.3, text: bool = True) -> Path:
    """In the layout of diffusers' own training scripts; strong enough to change a picture visibly."""
    generator = torch.Generator().manual_seed(seed)
    layers = UNET_LAYERS + (TEXT_LAYERS if text else ())
    tensors = dict(_factors(folder, layers, generator, size))
    save_file(tensors, path, metadata={"format": "pt", "note": json.dumps({"seed": seed})})
    return path


def _factors(
    folder: Path, layers: tuple[str, ...], generator: torch.Generator, size: float
) -> Iterator[tuple[str, Tensor]]:
    for module, shape in module_shapes(folder).items():
        if module.endswith(layers) and len(shape) == 2:
            rows, columns = shape
            yield f"{module}.lora_A.weight", torch.randn(RANK, columns, generator=generator) * size / columns**0.5
            yield f"{module}.lora_B.weight", torch.randn(rows, RANK, generator=generator) * size


def admitted(path: Path, data_directory: Path) -> str:
    """The digest of the file's copy in the store."""
    return keep_copy(path, data_directory)


def blend(*parts: tuple[str, float]) -> Blend:
    """A Blend of (digest, weight) pairs, each for UNet and text encoders alike."""
    return Blend.of([BlendPart(digest, weight, weight) for digest, weight in parts])
