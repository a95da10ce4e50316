"""Control: ControlNets read the latents and a picture to follow, and add residuals to the UNet's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from diffusers import ControlNetUnionModel
from torch import Tensor

from sdxl_gateway.core.recipe import control_role
from sdxl_gateway.engine.canvas import Canvas, PartFactory, StepPart, UNetCall, joined
from sdxl_gateway.engine.latents import needed
from sdxl_gateway.engine.models.controls import CONTROL
from sdxl_gateway.engine.models.pool import ModelPool

GetControl = Callable[[str], Any]
"""Gives the ControlNet of a digest, on the device."""
Residuals = tuple[Sequence[Tensor], Tensor]
"""Added to the UNet's skip connections, in their order, and to its middle block."""


@dataclass(frozen=True, slots=True, eq=False)
class Following:
    """One control of one canvas, in the UNet's dtype: `image` (rows, 3, height, width) from 0 to 1.

    `weight` is (rows, 1, 1, 1); `mode` (rows,) is the index of the map's kind for a union ControlNet, else None.
    """

    digest: str
    image: Tensor
    weight: Tensor
    mode: Tensor | None

    def of_prompt(self) -> Following:
        """For the prompt's row only."""
        mode = None if self.mode is None else self.mode[-1:]
        return replace(self, image=self.image[-1:], weight=self.weight[-1:], mode=mode)


@dataclass(slots=True, eq=False)
class Control(StepPart):
    """The controls of a canvas; `active` are the indices of those that take part in its next step."""

    get: GetControl
    following: tuple[Following, ...]
    active: tuple[int, ...]

    @property
    def key(self) -> tuple[int, tuple[str, ...]] | None:
        """Each canvas's number of rows, which a union needs, and the next step's ControlNets in order; None if none."""
        rows = len(self.following[0].image)
        return (rows, tuple(self.following[i].digest for i in self.active)) if self.active else None

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Call each ControlNet once for all canvases, and sum their residuals."""
        get = parts[0].get
        columns = zip(*([part.following[i] for i in part.active] for part in parts), strict=True)
        residuals = [_residuals(get(column[0].digest), column, call) for column in columns]
        call.arguments["down_block_additional_residuals"] = tuple(
            sum(one, start=first) for first, *one in zip(*(skips for skips, _ in residuals), strict=True)
        )
        first, *others = (middle for _, middle in residuals)
        call.arguments["mid_block_additional_residual"] = sum(others, start=first)

    def of_prompt(self) -> Control:
        """With the same controls."""
        return replace(self, following=tuple(one.of_prompt() for one in self.following))

    def after_step(self, canvas: Canvas) -> None:
        """Select the next step's controls."""
        self.active = canvas.recipe.controls_at(canvas.steps_done + 1, canvas.sampler_steps)


def control_from(pool: ModelPool) -> PartFactory:
    """The part's factory, with ControlNets from `pool`."""

    def get(digest: str) -> Any:
        return pool.get(CONTROL, digest)

    def begin(canvas: Canvas) -> Control | None:
        if not canvas.recipe.controls:
            return None
        following = tuple(_following(canvas, i) for i in range(len(canvas.recipe.controls)))
        return Control(get, following, canvas.recipe.controls_at(0, canvas.sampler_steps))

    return begin


def _following(canvas: Canvas, index: int) -> Following:
    checkpoint, control, rows = canvas.checkpoint, canvas.recipe.controls[index], canvas.rows
    picture = needed(canvas.pictures.get(control_role(index)))
    image = _as_rgb(picture).to(checkpoint.dtype).expand(rows, -1, -1, -1)
    weight = torch.full((rows, 1, 1, 1), control.weight, dtype=checkpoint.dtype, device=checkpoint.device)
    mode = None if control.mode is None else torch.full((rows,), control.mode, device=checkpoint.device)
    return Following(control.digest, image, weight, mode)


def _as_rgb(picture: Tensor) -> Tensor:
    """(1, 3, height, width), as a ControlNet reads it; a map of one channel becomes grey."""
    return picture.expand(1, 3, -1, -1)


def _residuals(model: Any, column: Sequence[Following], call: UNetCall) -> Residuals:
    """`column` has one control of each canvas. Of an inpainting UNet's input channels, only the latents are passed."""
    arguments: dict[str, Any] = {
        "encoder_hidden_states": call.arguments["encoder_hidden_states"],
        "added_cond_kwargs": call.arguments["added_cond_kwargs"],
        "controlnet_cond": joined([one.image for one in column]),
        "conditioning_scale": joined([one.weight for one in column]),
    }
    if isinstance(model, ControlNetUnionModel):
        arguments = _for_union(model, column, arguments)
    sample = call.sample[:, : model.config.in_channels]
    residuals: Residuals = model(sample, call.timesteps, **arguments, return_dict=False)
    return residuals


def _for_union(model: Any, column: Sequence[Following], arguments: dict[str, Any]) -> dict[str, Any]:
    """A union takes lists of pictures, here of one; the kind of map may differ between canvases."""
    modes = joined([one.mode for one in column if one.mode is not None])
    for layer in model.transformer_layes:
        layer.rows = len(column[0].image)
    kinds = torch.arange(model.config.num_control_type, device=modes.device)
    return arguments | {
        "controlnet_cond": [arguments["controlnet_cond"]],
        "conditioning_scale": [arguments["conditioning_scale"]],
        "control_type": (modes[:, None] == kinds).to(arguments["controlnet_cond"].dtype),
        "control_type_idx": [modes],
    }
