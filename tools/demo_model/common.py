"""Small helpers that every training script shares."""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

DEFAULT_WORK = Path(tempfile.gettempdir()) / "demo_model"


def arguments(about: str, steps: int) -> argparse.ArgumentParser:
    """The options that every training script takes."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder for checkpoints and latents")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def seed_all(seed: int) -> random.Random:
    """Seeds every generator and returns one of its own for scenes."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return random.Random(seed)


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Linear warmup, then a cosine down to a twentieth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


class Ema:
    """A moving average of parameters whose memory grows with the steps done."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float = 0.998) -> None:
        self.live = list(parameters)
        self.shadow = [p.detach().clone() for p in self.live]
        self.decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average a little towards the live parameters."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.live], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the live parameters and the average."""
        for live, shadow in zip(self.live, self.shadow, strict=True):
            kept = live.detach().clone()
            live.copy_(shadow)
            shadow.copy_(kept)


def save_atomic(value: Any, path: Path) -> None:
    """Writes a checkpoint so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(value, partial)
    partial.replace(path)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures as bytes, last axis colour, to floats from -1 to 1, colour first."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pictures(images: torch.Tensor) -> np.ndarray:
    """The inverse of to_tensor."""
    values = images.detach().add(1).mul(127.5).round().clamp(0, 255)
    return values.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def grid(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Many pictures of one size as one."""
    rows = [np.concatenate(list(pictures[i : i + columns]), axis=1) for i in range(0, len(pictures), columns)]
    return np.concatenate([row for row in rows if row.shape == rows[0].shape], axis=0)
