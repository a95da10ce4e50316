"""Takes a diffusers folder, gives a Checkpoint: its models on the device, nothing held twice on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdxl_gateway.catalog.model_files import COMPONENTS, headers
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.device import bfloat16_works, choose_compute_dtype, choose_vae_dtype
from sdxl_gateway.engine.models.pretrained import load_pretrained
from sdxl_gateway.engine.models.samplers import SamplerFactory
from sdxl_gateway.engine.models.upcast import upcast

VAE = "vae"
PLAIN_CHANNELS = 4
INPAINT_CHANNELS = 9
"""Latents, the mask, and the latents of what is to be kept."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a checkpoint lies; `vae` is the folder of another VAE, in place of its own."""

    name: str
    folder: Path
    vae: Path | None = None

    def component(self, name: str) -> Path:
        """The folder of one of COMPONENTS, or of the VAE."""
        return self.vae if name == VAE and self.vae is not None else self.folder / name

    def parameters(self) -> int:
        """How many numbers all components hold, from the files' headers alone. Raises CheckpointProblem."""
        found = (header for name in (*COMPONENTS, VAE) for header in headers(self.component(name)))
        return sum(prod(tensor.shape) for header in found for tensor in header.tensors.values())


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The models of one checkpoint on one device.

    `index` is its model_index.json; `dtype` what the UNet and the text encoders compute in, whatever their weights are
    kept in; `denoiser` is what a step calls: the UNet, or a faster one that reads the UNet's own weights.
    """

    name: str
    index: Mapping[str, Any]
    unet: Any
    vae: Any
    text_encoders: tuple[Any, Any]
    tokenizers: tuple[Any, Any]
    samplers: SamplerFactory
    dtype: torch.dtype
    denoiser: Callable[..., Any]

    @property
    def device(self) -> torch.device:
        return torch.device(self.unet.device)

    @property
    def latent_scale(self) -> int:
        """Pixels to one latent, along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def zeros_for_no_negative(self) -> bool:
        """Without a negative prompt, guidance leads away from zeros rather than from the empty text."""
        return bool(self.index.get("force_zeros_for_empty_prompt", True))

    @property
    def inpaints(self) -> bool:
        """The UNet itself is told what to keep."""
        return bool(self.unet.config.in_channels == INPAINT_CHANNELS)

    @property
    def embeds_guidance(self) -> bool:
        """The UNet was distilled to take the guidance scale as an input."""
        return self.unet.config.time_cond_proj_dim is not None

    def blendable(self) -> dict[str, nn.Module]:
        """The components a LoRA may change, by their names in COMPONENTS."""
        return dict(zip(COMPONENTS, (self.unet, *self.text_encoders), strict=True))

    def size_bytes(self) -> int:
        """What all weights take up on the device."""
        return sum(t.nbytes for module in (*self.blendable().values(), self.vae) for t in _tensors(module))


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def load_checkpoint(source: Source, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Weights from safetensors files only, on disk only. Raises CheckpointProblem for what cannot be painted with."""
    index = _read_json(source.folder / "model_index.json")
    vae_config = _read_json(source.component(VAE) / "config.json")
    force_upcast = bool(vae_config.get("force_upcast", True))
    works = bfloat16_works(device)
    vae_dtype = choose_vae_dtype(dtype, device.type, force_upcast=force_upcast, bfloat16_works=works)
    compute_dtype = choose_compute_dtype(dtype, device.type, bfloat16_works=works)
    unet_folder, text_folder, text_2_folder = map(source.component, COMPONENTS)
    encoders = (
        load_pretrained(CLIPTextModel, text_folder, dtype, trust_remote_code=False),
        load_pretrained(CLIPTextModelWithProjection, text_2_folder, dtype, trust_remote_code=False),
    )
    unet = load_pretrained(UNet2DConditionModel, unet_folder, dtype)
    if unet.config.in_channels not in (PLAIN_CHANNELS, INPAINT_CHANNELS):
        raise CheckpointProblem(f"A UNet of {unet.config.in_channels} input channels is not one of SDXL's.")
    vae = load_pretrained(AutoencoderKL, source.component(VAE), vae_dtype)
    if compute_dtype is not dtype:
        for model in (unet, *encoders):
            upcast(model, compute_dtype)
    unet = _ready(unet, device)
    return Checkpoint(
        source.name,
        index,
        unet,
        _ready(vae, device, channels_last_on=("cuda", "cpu")),
        (_ready(encoders[0], device), _ready(encoders[1], device)),
        (_load_tokenizer(source.folder / "tokenizer"), _load_tokenizer(source.folder / "tokenizer_2")),
        SamplerFactory(_read_json(source.folder / "scheduler" / "scheduler_config.json")),
        compute_dtype,
        denoiser=unet,
    )


def _ready(model: Any, device: torch.device, *, channels_last_on: Collection[str] = ("cuda",)) -> Any:
    """Tensor cores convolve channels-last. On a CPU it takes a fifth off a VAE's decode, and nothing off a UNet."""
    model = model.to(device).eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last) if device.type in channels_last_on else model


def _load_tokenizer(folder: Path) -> Any:
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointProblem(f"'{path.parent.name}/{path.name}' is missing or not readable.") from error
