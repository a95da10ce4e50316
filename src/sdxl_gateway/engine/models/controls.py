"""Takes the configured ControlNets, gives the loader of their kind, by digest: two names of one file are one model."""

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
    """Loads ControlNets in `dtype`, what the UNet computes in."""

    files: ByDigest[ControlEntry]
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return self.files.digests

    def wanted_by(self, recipe: Recipe) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(control.digest for control in recipe.controls))

    def cost_bytes(self, name: str) -> int:
        """By the headers of its files. Raises Unavailable for one that is not there any more."""
        return self.files.of(name).parameters * self.dtype.itemsize

    def load(self, name: str) -> Any:
        """A ControlNetModel or ControlNetUnionModel. Raises Unavailable, CheckpointProblem."""
        return self.files.read(name, self._loaded)

    def _loaded(self, entry: ControlEntry) -> Any:
        model = model_of(entry)
        _fill(model, entry, self.dtype, self.device)
        if entry.union:
            model.transformer_layes = nn.ModuleList(map(PerCanvas, model.transformer_layes))
        ready = model.to(self.device, self.dtype).eval().requires_grad_(False)
        return ready.to(memory_format=torch.channels_last) if self.device.type == "cuda" else ready

    def unload(self, model: nn.Module) -> None:
        """Nothing beside the model itself is on the ledger."""


class PerCanvas(nn.Module):
    """A layer of a union's transformer, for several canvases at once; `rows` are those of one canvas.

    Its attention runs over the rows of a call, since torch takes their dimension for the sequence's, and so do the
    weights that were taught with it: a picture's two rows read each other, and are not to read another picture's.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.rows = 1

    def forward(self, x: Tensor) -> Tensor:
        """(canvases * rows, maps + 1, channels), and the same back."""
        _, maps, channels = x.shape
        apart = x.view(-1, self.rows, maps, channels).transpose(0, 1).reshape(self.rows, -1, channels)
        found: Tensor = self.layer(apart)
        return found.view(self.rows, -1, maps, channels).transpose(0, 1).reshape(x.shape)


def model_of(entry: ControlEntry) -> Any:
    """The model without values. Raises CheckpointProblem for a config that diffusers cannot build."""
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
