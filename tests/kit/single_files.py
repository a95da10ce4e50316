"""Writes a diffusers folder as single files, in the original layout and its variants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdxl_gateway.config import DEMO_MODEL, Checkpoint
from tests.kit.reference import Reference
from tools.single_file import REFINER_CLIP_G_PREFIX, VAE_PREFIX, load_components, original_layout, original_vae

COMPONENTS = ("unet", "text_encoder", "text_encoder_2", "vae")


def write_single_file(
    path: Path,
    folder: Path = DEMO_MODEL,
    *,
    dtype: torch.dtype = torch.float16,
    vae: bool = True,
    more: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """All weights in `dtype`, with position ids and a temperature, as published files have."""
    tensors = {name: tensor.to(dtype) for name, tensor in original_layout(load_components(folder, COMPONENTS)).items()}
    if not vae:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(VAE_PREFIX)}
    save_file(tensors | _beside(tensors) | dict(more or {}), path, metadata={"format": "pt", **(metadata or {})})
    return path


def _beside(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Position ids and temperature; for a refiner only the temperature of its one text encoder."""
    temperature = torch.tensor(4.6)
    if any(name.startswith(REFINER_CLIP_G_PREFIX) for name in tensors):
        return {f"{REFINER_CLIP_G_PREFIX}logit_scale": temperature}
    return {
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "conditioner.embedders.1.model.logit_scale": temperature,
    }


def write_vae(path: Path, folder: Path = DEMO_MODEL, *, original: bool = True, prefix: str = "") -> Path:
    """Write only the VAE."""
    tensors = load_components(folder, ("vae",))["vae"]
    named = dict(original_vae(tensors)) if original else tensors
    save_file({prefix + name: tensor.contiguous() for name, tensor in named.items()}, path)
    return path


def section(path: Path, **more: Any) -> Checkpoint:
    """Settings for a file of the demo model's sizes."""
    return Checkpoint(path=str(path), **{"config": "demo", **more})


def reference(path: Path, configs: Path = DEMO_MODEL, **scheduler: Any) -> Reference:
    """diffusers' own pipeline of the file; `scheduler` are keys of its config."""
    pipeline = _read(diffusers.StableDiffusionXLPipeline, path, configs)
    pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, **scheduler)
    return Reference.of(pipeline)


def refiner_reference(path: Path, configs: Path) -> Reference:
    """As `reference`, for a refiner's file."""
    return Reference.of(_read(diffusers.StableDiffusionXLImg2ImgPipeline, path, configs))


def _read(kind: Any, path: Path, configs: Path) -> Any:
    return kind.from_single_file(str(path), config=str(configs), dtype=torch.float32, local_files_only=True)
