"""Takes the folder of one component, gives its config, its size and its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from sdxl_gateway.catalog.model_files import headers, headers_of, weight_files
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.device import CPU
from sdxl_gateway.engine.models.arrival import read_to_device
from sdxl_gateway.engine.models.pretrained import empty_model, filled, load_pretrained, matching_tensors


class Component(Protocol):
    """A UNet, a text encoder or a VAE on disk. All methods raise CheckpointProblem for unusable files."""

    def config(self) -> dict[str, Any]:
        """As its library writes it."""

    def parameters(self) -> int:
        """The number of parameters, from its files' headers alone."""

    def load(self, kind: Any, dtype: torch.dtype, device: torch.device = CPU) -> Any:
        """A model of class `kind`: on `device` if that is CUDA and files can be read to it, else on the CPU."""


@dataclass(frozen=True, slots=True)
class FolderComponent:
    """In a folder of its own, as diffusers and transformers save it."""

    folder: Path

    def config(self) -> dict[str, Any]:
        """Raises CheckpointProblem."""
        return read_json(self.folder / "config.json")

    def parameters(self) -> int:
        """Raises CheckpointProblem."""
        return sum(header.parameters for header in headers(self.folder))

    def load(self, kind: Any, dtype: torch.dtype, device: torch.device = CPU) -> Any:
        """Raises CheckpointProblem."""
        model = self._load_directly(kind, dtype, device) if device.type == "cuda" else None
        return load_pretrained(kind, self.folder, dtype) if model is None else model

    def _load_directly(self, kind: Any, dtype: torch.dtype, device: torch.device) -> Any | None:
        """None if tensors' names or shapes differ from the model's: its library may know how to convert them."""
        empty, files = empty_model(kind, self.config()), weight_files(self.folder)
        file_headers = [*headers_of(files)]
        places = matching_tensors(empty, file_headers)
        if places is None:
            return None
        tensors: dict[str, Tensor] = {}
        for path, header, own in zip(files, file_headers, places, strict=True):
            tensors |= read_to_device(path, header.data_start, own, dtype, device)
        return filled(empty, tensors)


def read_json(path: Path) -> dict[str, Any]:
    """A config file. Raises CheckpointProblem."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointProblem(f"'{path.parent.name}/{path.name}' is missing or not readable.") from error
