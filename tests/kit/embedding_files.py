"""Makes embedding files for the demo's text encoders from a seed."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTHS = {"clip_l": 64, "clip_g": 96}


def vectors(seed: int, **counts: int) -> dict[str, Tensor]:
    """`counts` vectors for each encoder, far from those of any real word."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, WIDTHS[name], generator=generator) * 0.5 for name, count in counts.items()}


def write_embedding(path: Path, seed: int = 1, **counts: int) -> dict[str, Tensor]:
    """Write the file; its tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = vectors(seed, **(counts or {"clip_l": 2, "clip_g": 2}))
    save_file(made, path)
    return made
