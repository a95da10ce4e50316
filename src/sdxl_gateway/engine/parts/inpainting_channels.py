"""InpaintingChannels: gives an inpainting UNet, in further input channels, the mask and the picture to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sdxl_gateway.core.picture import CHANNELS
from sdxl_gateway.core.recipe import Task
from sdxl_gateway.engine.canvas import Canvas, StepPart, UNetCall, joined
from sdxl_gateway.engine.latents import centred, needed, repainted


@dataclass(frozen=True, slots=True, eq=False)
class InpaintingChannels(StepPart):
    """`channels` (rows, 5, h, w), in the UNet's dtype: the mask, 1 where to repaint, and the kept picture's latents."""

    channels: Tensor

    @classmethod
    def begin(cls, canvas: Canvas) -> Self | None:
        """For every canvas of a checkpoint with an inpainting UNet; other tasks than inpainting repaint everything."""
        checkpoint = canvas.checkpoint
        if not checkpoint.inpaints:
            return None
        channels = _from_mask(canvas) if canvas.recipe.task is Task.INPAINT else _nothing_kept(canvas)
        return cls(channels.to(checkpoint.dtype).expand(canvas.rows, -1, -1, -1))

    def handed_over(self, canvas: Canvas) -> Self | None:
        """None for a model without such channels; the kept picture is pasted back over the finished one anyway."""
        return self if canvas.checkpoint.inpaints else None

    def of_prompt(self) -> Self:
        """All rows are equal."""
        return replace(self, channels=self.channels[-1:])

    @property
    def key(self) -> int:
        """The number of channels."""
        return self.channels.shape[1]

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Append the channels to those of the latents."""
        call.sample = torch.cat([call.sample, joined([part.channels for part in parts])], dim=1)


def _from_mask(canvas: Canvas) -> Tensor:
    pixels, painted = centred(needed(canvas.pictures.get("image"))), repainted(needed(canvas.pictures.get("mask")))
    mask = interpolate(painted.float(), size=canvas.latents.shape[-2:])
    return torch.cat([mask, canvas.source.encode(pixels * ~painted)], dim=1)


def _nothing_kept(canvas: Canvas) -> Tensor:
    recipe, device = canvas.recipe, canvas.checkpoint.device
    blank = torch.zeros(1, CHANNELS["RGB"], recipe.paint_height, recipe.paint_width, device=device)
    kept = canvas.source.encode(blank)
    return torch.cat([torch.ones_like(kept[:, :1]), kept], dim=1)
