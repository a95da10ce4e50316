"""Trains the UNet to paint in one pass what guidance makes of two, so that a picture takes half the time.

Guidance distillation after Meng et al., "On Distillation of Guided Diffusion Models" (CVPR 2023), at one fixed scale.
"""

from __future__ import annotations

import argparse

import torch

from . import arch
from .unet import Size, Training, noised, run, weighted_error

GUIDANCE = 3.0


class Distillation(Training):
    """One process's share: the student starts as a copy of the trained UNet and learns its guided answers."""

    name = "distilled"
    peak_rate = 3e-4

    def __init__(self, rank: int, options: argparse.Namespace) -> None:
        self.teacher = arch.new_unet()
        self.teacher.load_state_dict(torch.load(options.work / "unet.ema.pt")["unet"])
        self.teacher.requires_grad_(False)
        super().__init__(rank, options)

    def _resume(self) -> None:
        self.unet.load_state_dict(self.teacher.state_dict())
        self.ema.shadow = [p.detach().clone() for p in self.parameters]
        super()._resume()

    def guided(self, mixed: torch.Tensor, times: torch.Tensor, prompts: list[str], size: Size) -> torch.Tensor:
        """What the teacher says with guidance."""
        conditions = self.frozen.conditions([*prompts, *[""] * len(prompts)], size)
        with torch.no_grad():
            said, unasked = self.teacher(mixed.repeat(2, 1, 1, 1), times.repeat(2), **conditions).sample.chunk(2)
        guided: torch.Tensor = unasked + GUIDANCE * (said - unasked)
        return guided

    def loss(self, prompts: list[str], latents: torch.Tensor, size: Size) -> torch.Tensor:
        """The distance of the student's one pass from the teacher's two."""
        mixed, times, _ = noised(latents, self.alphas)
        wanted = self.guided(mixed, times, prompts, size)
        found = self.unet(mixed, times, **self.frozen.conditions(prompts, size)).sample
        return weighted_error(found, wanted, latents, self.alphas[times])


if __name__ == "__main__":
    run(__doc__ or "", Distillation, steps=600)
