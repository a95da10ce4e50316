"""Takes a single-file checkpoint, gives its components with diffusers' tensor names, by diffusers' own conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor

from sdxl_gateway.catalog.model_files import TEXT, TEXT_2, UNET, VAE
from sdxl_gateway.catalog.safetensors_header import TensorInfo
from sdxl_gateway.catalog.single_file.families import CLIP_G_PREFIX, REFINER_CLIP_G_PREFIX
from sdxl_gateway.catalog.single_file.layout import IGNORED
from sdxl_gateway.catalog.single_file.read import SingleFile, read_single_file
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.device import CPU
from sdxl_gateway.engine.models.component import read_json
from sdxl_gateway.engine.models.lazy_tensors import tensors_at
from sdxl_gateway.engine.models.pretrained import check_tensors, empty_model, filled

Tensors = Mapping[str, Tensor]
_DIFFUSERS_VAE = "decoder.mid_block."


@dataclass(frozen=True, slots=True)
class FileComponent:
    """The component `name` of a single file; its config is in the folder of that name in `configs`.

    A VAE may also be alone in its file, in the original layout or in diffusers'.
    """

    path: Path
    name: str
    configs: Path

    def config(self) -> dict[str, Any]:
        """The UNet's input channels are those of the file's own shapes. Raises CheckpointProblem."""
        found = read_json(self.configs / self.name / "config.json")
        return found | {"in_channels": read_single_file(self.path).in_channels} if self.name == UNET else found

    def parameters(self) -> int:
        """Raises CheckpointProblem."""
        return sum(prod(tensor.shape) for tensor in self._places(read_single_file(self.path)).values())

    def load(self, kind: Any, dtype: torch.dtype, device: torch.device = CPU) -> Any:
        """Raises CheckpointProblem; tensors are checked against the config before any is read."""
        file, config = read_single_file(self.path), self.config()
        places = self._places(file)
        shapes = {name: torch.empty(place.shape, device="meta") for name, place in places.items()}
        empty = empty_model(kind, config)
        check_tensors(empty, self._converted(shapes, config), f"The {self.name} in '{self.path.name}'")
        tensors = tensors_at(self.path, file.header.data_start, places, dtype, device)
        return filled(empty, self._converted(tensors, config))

    def _converted(self, tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
        try:
            return to_diffusers(self.name, tensors, config)
        except torch.OutOfMemoryError:
            raise  # so that the pool evicts others and tries again
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointProblem(f"'{self.path.name}' holds no whole {self.name}.") from error

    def _places(self, file: SingleFile) -> dict[str, TensorInfo]:
        prefix, tensors = file.prefixes[self.name], file.header.tensors
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix) and name not in IGNORED}
        return own or (dict(tensors) if self.name == VAE else {})


def to_diffusers(name: str, tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """The `tensors` of the component `name`, renamed from the original layout to diffusers' names."""
    return _CONVERSIONS[name](tensors, config)


def _unet(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    return dict(convert_ldm_unet_checkpoint(tensors, config))


def _text_encoder(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    return dict(convert_ldm_clip_checkpoint(tensors))


def _text_encoder_2(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    # The model (None) is used only for its width, if the projection is missing.
    refines = any(name.startswith(REFINER_CLIP_G_PREFIX) for name in tensors)
    prefix = REFINER_CLIP_G_PREFIX if refines else CLIP_G_PREFIX
    return dict(convert_open_clip_checkpoint(None, tensors, prefix=prefix))


def _vae(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    if any(name.startswith(_DIFFUSERS_VAE) for name in tensors):
        return dict(tensors)
    return dict(convert_ldm_vae_checkpoint(tensors, config))


_CONVERSIONS: dict[str, Callable[[Tensors, Mapping[str, Any]], Tensors]] = {
    UNET: _unet,
    TEXT: _text_encoder,
    TEXT_2: _text_encoder_2,
    VAE: _vae,
}
