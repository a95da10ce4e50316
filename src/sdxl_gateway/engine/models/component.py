"""Takes the folder of one component, gives its config, its size and the model in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from sdxl_gateway.catalog.model_files import headers
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.models.pretrained import load_pretrained


class Component(Protocol):
    """A UNet, a text encoder or a VAE on disk. Everything raises CheckpointProblem for files that cannot be used."""

    def config(self) -> dict[str, Any]:
        """As its library writes it."""

    def parameters(self) -> int:
        """How many numbers it holds, from its files' headers alone."""

    def load(self, kind: Any, dtype: torch.dtype) -> Any:
        """A model of class `kind`, on the CPU."""


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

    def load(self, kind: Any, dtype: torch.dtype) -> Any:
        """Raises CheckpointProblem."""
        return load_pretrained(kind, self.folder, dtype)


def read_json(path: Path) -> dict[str, Any]:
    """A config file. Raises CheckpointProblem."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointProblem(f"'{path.parent.name}/{path.name}' is missing or not readable.") from error
