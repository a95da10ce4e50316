"""Takes the folder of a tiny VAE, gives the model that decodes previews."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny

from sdxl_gateway.catalog.preview_vae import parameters
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.models.pretrained import load_pretrained, own_weights

PREVIEW_VAE = "preview_vae"


@dataclass(frozen=True, slots=True)
class PreviewVaeLoader:
    """One model for all checkpoints, as they share SDXL's latent space; it computes in `dtype`."""

    folder: Path
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return (PREVIEW_VAE,)

    def wanted_by(self, recipe: Recipe) -> tuple[str, ...]:
        """For every recipe, as any may have previews."""
        return self.names

    def cost_bytes(self, name: str) -> int:
        """By the headers of its files."""
        return parameters(self.folder) * self.dtype.itemsize

    def load(self, name: str) -> Any:
        """Raises CheckpointProblem."""
        model = load_pretrained(AutoencoderTiny, self.folder, self.dtype).to(self.device)
        own_weights(model)
        return model.eval().requires_grad_(False)

    def unload(self, model: Any) -> None:
        """Nothing but the model itself is on the ledger."""
