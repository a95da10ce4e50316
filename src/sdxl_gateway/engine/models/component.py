"""Takes the folder of one component, gives its config, its size and the model in it."""

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
from sdxl_gateway.engine.models.arrival import arrived
from sdxl_gateway.engine.models.pretrained import empty_model, filled, load_pretrained, wanted


class Component(Protocol):
    """A UNet, a text encoder or a VAE on disk. Everything raises CheckpointProblem for files that cannot be used."""

    def config(self) -> dict[str, Any]:
        """As its library writes it."""

    def parameters(self) -> int:
        """How many numbers it holds, from its files' headers alone."""

    def load(self, kind: Any, dtype: torch.dtype, device: torch.device = CPU) -> Any:
        """A model of class `kind`, on the CPU; on `device` where that is a CUDA one and the files can be read there."""


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
        straight = self._straight(kind, dtype, device) if device.type == "cuda" else None
        return load_pretrained(kind, self.folder, dtype) if straight is None else straight

    def _straight(self, kind: Any, dtype: torch.dtype, device: torch.device) -> Any | None:
        """None where tensors are not called and shaped as the model's: its library knows what they were before."""
        empty, files = empty_model(kind, self.config()), weight_files(self.folder)
        found = [*headers_of(files)]
        places = wanted(empty, found)
        if places is None:
            return None
        tensors: dict[str, Tensor] = {}
        for path, header, own in zip(files, found, places, strict=True):
            tensors |= arrived(path, header.data_start, own, dtype, device)
        return filled(empty, tensors)


def read_json(path: Path) -> dict[str, Any]:
    """A config file. Raises CheckpointProblem."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointProblem(f"'{path.parent.name}/{path.name}' is missing or not readable.") from error
