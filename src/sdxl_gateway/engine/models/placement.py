"""Takes a memory plan, places each component of a checkpoint: on the device, or in host memory between uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sdxl_gateway.catalog.model_files import COMPONENTS, TEXT_ENCODERS, UNET, VAE
from sdxl_gateway.engine.device import CPU
from sdxl_gateway.engine.memory.fp8_products import multiply_in_fp8
from sdxl_gateway.engine.memory.offload import HostMemory, WeightStream, keep_in_host_memory
from sdxl_gateway.engine.memory.quantised import quantise
from sdxl_gateway.engine.models.pretrained import own_weights
from sdxl_gateway.scheduling.memory_plan import TILE_SIDE, UNLIMITED_BYTES, MemoryPlan
from sdxl_gateway.scheduling.weight_sizes import NATIVE, Formats, Mode

IN_HOST_MEMORY: dict[Mode, tuple[str, ...]] = {
    "fast": (),
    "balanced": (*TEXT_ENCODERS, VAE),
    "low": (*COMPONENTS, VAE),
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where weights are and in which format; the same for all checkpoints of a device, which share `stream`.

    The VAE tiles areas of more than `whole_pixels`. `decodes_beside`: there is memory for a decode concurrent with
    steps.
    """

    device: torch.device
    mode: Mode
    formats: Formats
    whole_pixels: int
    stream: WeightStream
    decodes_beside: bool = False

    @classmethod
    def of(cls, plan: MemoryPlan, device: torch.device) -> Placement:
        """By a plan for the device."""
        return cls(device, plan.mode, plan.formats, plan.whole_pixels, WeightStream(device), plan.decodes_beside)

    @classmethod
    def everything_on(cls, device: torch.device) -> Placement:
        """Without a plan: all weights on the device, in the checkpoint's formats."""
        return cls(device, "fast", NATIVE, UNLIMITED_BYTES, WeightStream(device))

    @property
    def is_plain(self) -> bool:
        """All weights are on the device, in the checkpoint's formats."""
        return self.mode == "fast" and self.formats == NATIVE

    def offloads(self, component: str) -> bool:
        """The component's weights are in host memory between uses."""
        return component in IN_HOST_MEMORY[self.mode]

    def load_device(self, component: str) -> torch.device:
        """Where its files are read to: the device, unless its weights are to be quantised or offloaded."""
        direct = self.formats == NATIVE and not self.offloads(component)
        return self.device if direct else CPU

    def round(self, component: str, model: nn.Module, dtype: torch.dtype) -> None:
        """Quantise the weights of a freshly loaded UNet or text encoder, if planned; layers compute in `dtype`."""
        home = CPU if self.offloads(component) else self.device
        if self.formats.products == "fp8" and component == UNET:
            multiply_in_fp8(model, self.device, home)
        if self.formats.weights != "native":
            quantise(model, self.formats.weights, self.device, home, dtype)

    def settle(self, component: str, model: nn.Module, memory: HostMemory, *, channels_last: bool = False) -> None:
        """Move the model to its place, ready to compute on the device."""
        model.eval().requires_grad_(False)
        if not self.offloads(component):
            model.to(self.device)
            own_weights(model)
        if channels_last:
            # torch's stubs have this overload of `to` for tensors only.
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.offloads(component):
            keep_in_host_memory(model, self.stream, memory)


def set_tiles(vae: Any) -> None:
    """Set the tile size, whatever the VAE's config says: by SDXL's own a whole picture would be one tile."""
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_sample_min_size, vae.tile_latent_min_size = TILE_SIDE, TILE_SIDE // scale


def module_bytes(model: nn.Module) -> int:
    """Bytes of its weights, wherever they are."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
