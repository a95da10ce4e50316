"""Takes the folder of a tiny VAE, gives the model that looks at running pictures are decoded with."""

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
    """One for all checkpoints, as SDXL's latents mean the same in all of them; `dtype` is what it computes in."""

    folder: Path
    device: torch.device
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return (PREVIEW_VAE,)

    def wanted_by(self, recipe: Recipe) -> tuple[str, ...]:
        """Any recipe may be looked at."""
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
        """It holds nothing else."""
