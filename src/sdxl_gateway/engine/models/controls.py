"""Takes the configured ControlNets, gives their loader, by digest, so that two names of one file are one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from torch import Tensor, nn

from sdxl_gateway.catalog.controls import ControlEntry
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.models.by_digest import ByDigest
from sdxl_gateway.engine.models.lazy_tensors import tensors_of

CONTROL = "control"


@dataclass(frozen=True, slots=True)
class ControlLoader:
    """Loads ControlNets in `dtype`, the UNet's compute dtype."""

    files: ByDigest[ControlEntry]
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return self.files.digests

    def wanted_by(self, recipe: Recipe) -> list[str]:
        """The digests of its ControlNets, each once."""
        return list(dict.fromkeys(control.digest for control in recipe.controls))

    def cost_bytes(self, name: str) -> int:
        """By the headers of its files. Raises Unavailable if they are gone."""
        return self.files.of(name).parameters * self.dtype.itemsize

    def load(self, name: str) -> Any:
        """A ControlNetModel or ControlNetUnionModel. Raises Unavailable, CheckpointProblem."""
        return self.files.read(name, self._load)

    def _load(self, entry: ControlEntry) -> Any:
        model = model_of(entry)
        _fill(model, entry, self.dtype, self.device)
        if entry.union:
            model.transformer_layes = nn.ModuleList(map(PerCanvas, model.transformer_layes))
        ready = model.to(self.device, self.dtype).eval().requires_grad_(False)
        return ready.to(memory_format=torch.channels_last) if self.device.type == "cuda" else ready

    def unload(self, model: nn.Module) -> None:
        """Nothing but the model itself is on the ledger."""


class PerCanvas(nn.Module):
    """A layer of a union ControlNet's transformer, for several canvases at once; `rows` is one canvas's number of rows.

    Its attention runs over the rows of a call, as torch takes that dimension for the sequence, and the weights were
    trained so: the two rows of a picture attend to each other, but must not attend to another picture's.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.rows = 1

    def forward(self, x: Tensor) -> Tensor:
        """(canvases * rows, maps + 1, channels), and the same back."""
        _, maps, channels = x.shape
        by_row = x.view(-1, self.rows, maps, channels).transpose(0, 1).reshape(self.rows, -1, channels)
        output: Tensor = self.layer(by_row)
        return output.view(self.rows, -1, maps, channels).transpose(0, 1).reshape(x.shape)


def model_of(entry: ControlEntry) -> Any:
    """The model on the meta device. Raises CheckpointProblem for a config that diffusers cannot build."""
    kind = ControlNetUnionModel if entry.union else ControlNetModel
    try:
        with torch.device("meta"):
            return kind.from_config(dict(entry.config))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointProblem(f"controls.{entry.name}: its config describes no ControlNet.") from error


def _fill(model: nn.Module, entry: ControlEntry, dtype: torch.dtype, device: torch.device) -> None:
    tensors: dict[str, Tensor] = {}
    for file in entry.files:
        tensors |= tensors_of(file, dtype, device)
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointProblem(f"controls.{entry.name}: its config and its weights do not belong together.") from error
