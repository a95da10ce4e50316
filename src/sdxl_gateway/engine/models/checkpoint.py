"""Takes a diffusers folder or a single file, gives a Checkpoint: its models on the device, without a second copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.catalog.checkpoints import checkpoint_shapes
from sdxl_gateway.catalog.model_files import (
    TEXT,
    TEXT_2,
    TEXT_ENCODERS,
    TOKENIZERS,
    UNET,
    VAE,
    components_of,
)
from sdxl_gateway.config import SDXL_CONFIGS
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.device import bfloat16_works, choose_compute_dtype, choose_vae_dtype
from sdxl_gateway.engine.memory.offload import HostMemory
from sdxl_gateway.engine.models.clip_tokenizers import load_tokenizer
from sdxl_gateway.engine.models.component import Component, FolderComponent, read_json
from sdxl_gateway.engine.models.placement import Placement, module_bytes, set_tiles
from sdxl_gateway.engine.models.samplers import SamplerFactory
from sdxl_gateway.engine.models.single_file import FileComponent
from sdxl_gateway.engine.models.text_layers import NO_TEXT_LAYERS, TextLayers
from sdxl_gateway.engine.models.upcast import upcast
from sdxl_gateway.scheduling.weight_sizes import Sizes, sizes_of

TEXT_KINDS = {TEXT: CLIPTextModel, TEXT_2: CLIPTextModelWithProjection}
PLAIN_CHANNELS = 4
INPAINT_CHANNELS = 9
"""Latents, the mask, and the latents of the picture to keep."""


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint on disk: a diffusers folder, or a single file whose configs are in `config`.

    `vae` is the folder or single file of a VAE that replaces its own; `scheduler` overrides its scheduler config.
    """

    name: str
    path: Path
    vae: Path | None = None
    config: Path = SDXL_CONFIGS
    scheduler: Mapping[str, Any] = field(default_factory=dict)

    @property
    def components(self) -> tuple[str, ...]:
        """The COMPONENTS that it has. Raises CheckpointProblem."""
        return components_of(self.configs)

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """The TEXT_ENCODERS that it has. Raises CheckpointProblem."""
        return tuple(name for name in TEXT_ENCODERS if name in self.components)

    @property
    def configs(self) -> Path:
        """The folder of model_index.json and of the models' configs."""
        return self.path if self.path.is_dir() else self.config

    def component(self, name: str) -> Component:
        """`name` is one of COMPONENTS, or VAE."""
        if name == VAE and self.vae is not None:
            return FolderComponent(self.vae) if self.vae.is_dir() else FileComponent(self.vae, VAE, self.configs)
        if self.path.is_dir():
            return FolderComponent(self.path / name)
        return FileComponent(self.path, name, self.config)

    def scheduler_config(self) -> dict[str, Any]:
        """The config of its samplers. Raises CheckpointProblem."""
        return read_json(self.configs / "scheduler" / "scheduler_config.json") | dict(self.scheduler)

    def parameters(self) -> int:
        """The number of parameters of all components, from the files' headers alone. Raises CheckpointProblem."""
        return sum(self._numbers(name) for name in (*self.components, VAE))

    def sizes(self) -> Sizes:
        """The numbers of parameters by component. Raises CheckpointProblem."""
        text = sum(map(self._numbers, self.text_encoders))
        return replace(
            sizes_of(checkpoint_shapes(self.path)), unet=self._numbers(UNET), text=text, vae=self._numbers(VAE)
        )

    def _numbers(self, name: str) -> int:
        return self.component(name).parameters()


def plain_decoder(vae: Any) -> Callable[..., Any]:
    """Calls the VAE's `decode`, looked up at each call."""
    return lambda latents, **options: vae.decode(latents, **options)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The models of one checkpoint on one device.

    `index` is its model_index.json; `dtype` is what the UNet and the text encoders compute in, whatever their weights
    are stored in. A refiner has only the second text encoder and tokenizer. Steps call `denoiser` in place of the UNet,
    and decodes `decoder` in place of the VAE's `decode`: they may be faster, and read the same weights, so they must be
    replaced with those. `placement` says where components compute, and which are offloaded. `text_layers` are those of
    a UNet that is on the device for good.
    """

    name: str
    index: Mapping[str, Any]
    unet: Any
    vae: Any
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    samplers: SamplerFactory
    dtype: torch.dtype
    denoiser: Callable[..., Any]
    decoder: Callable[..., Any]
    placement: Placement
    text_layers: TextLayers = NO_TEXT_LAYERS

    @property
    def vae_dtype(self) -> torch.dtype:
        """The VAE's current dtype, by its first parameter; diffusers' own property searches all of them."""
        dtype: torch.dtype = next(self.vae.parameters()).dtype
        return dtype

    @property
    def device(self) -> torch.device:
        return self.placement.device

    @property
    def latent_scale(self) -> int:
        """Pixels for each latent, along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def zeros_for_no_negative(self) -> bool:
        """Without a negative prompt, guidance uses zeros in its place rather than the empty text's embedding."""
        return bool(self.index.get("force_zeros_for_empty_prompt", True))

    @property
    def inpaints(self) -> bool:
        """It has an inpainting UNet."""
        return bool(self.unet.config.in_channels == INPAINT_CHANNELS)

    @property
    def refines(self) -> bool:
        """It is a refiner, whose UNet takes an aesthetic score."""
        return bool(self.index.get("requires_aesthetics_score"))

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """The TEXT_ENCODERS that it has, in the order of `text_encoders`."""
        return TEXT_ENCODERS[-len(self.text_encoders) :]

    @property
    def embeds_guidance(self) -> bool:
        """The UNet was distilled to take the guidance scale as an input."""
        return self.unet.config.time_cond_proj_dim is not None

    def blendable(self) -> dict[str, nn.Module]:
        """The components a LoRA may change, by their names in COMPONENTS."""
        return dict(zip((UNET, *self.encoder_names), (self.unet, *self.text_encoders), strict=True))

    def size_bytes(self) -> int:
        """Bytes of weights on the device, as the ledger counts them; if all are offloaded, those in host memory."""
        on_device = (module_bytes(module) for name, module in self._components() if not self.placement.offloads(name))
        return sum(on_device) or self.host_bytes()

    def host_bytes(self) -> int:
        """Bytes of offloaded weights."""
        return sum(module_bytes(module) for name, module in self._components() if self.placement.offloads(name))

    def _components(self) -> Iterator[tuple[str, nn.Module]]:
        yield from self.blendable().items()
        yield VAE, self.vae


def load_checkpoint(source: Source, placement: Placement, dtype: torch.dtype) -> Checkpoint:
    """From local safetensors files only. Raises CheckpointProblem for a checkpoint that cannot be used."""
    device = placement.device
    index = read_json(source.configs / "model_index.json")
    vae_part = source.component(VAE)
    force_upcast = bool(vae_part.config().get("force_upcast", True))
    works = bfloat16_works(device)
    vae_dtype = choose_vae_dtype(dtype, device.type, force_upcast=force_upcast, bfloat16_works=works)
    compute_dtype = choose_compute_dtype(dtype, device.type, bfloat16_works=works)
    encoders, tokenizers = _load_text(source, placement, dtype)
    unet = source.component(UNET).load(UNet2DConditionModel, dtype, placement.load_device(UNET))
    if unet.config.in_channels not in (PLAIN_CHANNELS, INPAINT_CHANNELS):
        raise CheckpointProblem(f"A UNet of {unet.config.in_channels} input channels is not one of SDXL's.")
    vae = vae_part.load(AutoencoderKL, vae_dtype, placement.load_device(VAE))
    if compute_dtype is not dtype:
        for model in (unet, *encoders):
            upcast(model, compute_dtype)
    for name, model in zip(source.components, (unet, *encoders), strict=True):
        placement.round(name, model, compute_dtype)
    _settle(placement, unet, vae, dict(zip(source.text_encoders, encoders, strict=True)))
    return Checkpoint(
        source.name,
        index,
        unet,
        vae,
        tuple(encoders),
        tuple(tokenizers),
        SamplerFactory(source.scheduler_config()),
        compute_dtype,
        denoiser=unet,
        decoder=plain_decoder(vae),
        placement=placement,
        text_layers=NO_TEXT_LAYERS if placement.offloads(UNET) else TextLayers.of(unet),
    )


def _load_text(source: Source, placement: Placement, dtype: torch.dtype) -> tuple[list[Any], list[Any]]:
    """Text encoders, and a tokenizer for each."""
    names = source.text_encoders
    encoders = [source.component(name).load(TEXT_KINDS[name], dtype, placement.load_device(name)) for name in names]
    tokenizers = [load_tokenizer(source.configs, TOKENIZERS[name]) for name in names]
    for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
        if len(tokenizer) > encoder.get_input_embeddings().num_embeddings:
            raise CheckpointProblem(f"A tokenizer has {len(tokenizer)} tokens, more than its text encoder knows.")
    return encoders, tokenizers


def _settle(placement: Placement, unet: Any, vae: Any, encoders: Mapping[str, Any]) -> None:
    """Place the models: channels-last on CUDA, for tensor cores; on a CPU it saves a fifth of VAE decodes only."""
    memory, device_type = HostMemory(placement.device), placement.device.type
    set_tiles(vae)
    placement.settle(UNET, unet, memory, channels_last=device_type == "cuda")
    placement.settle(VAE, vae, memory, channels_last=device_type in ("cuda", "cpu"))
    for name, encoder in encoders.items():
        placement.settle(name, encoder, memory)
