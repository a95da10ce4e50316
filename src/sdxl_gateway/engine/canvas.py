"""Canvas: one image being painted, with its own latents, sampler, noise and place in the step sequence."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.engine.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told besides the latents, one row for each of the canvas's UNet rows (negative first).

    `tokens` is (rows, 77, width), `pooled` (rows, projection), `time_ids` (rows, 6); `guidance` is (1, width) for a
    UNet that was distilled to take the guidance scale as an input, else None.
    """

    tokens: Tensor
    pooled: Tensor
    time_ids: Tensor
    guidance: Tensor | None = None

    @property
    def rows(self) -> int:
        return self.tokens.shape[0]


@dataclass(frozen=True, slots=True)
class Repaint:
    """What an inpainting without an inpainting UNet keeps: `mask` (1, 1, h, w) is 1 where to repaint."""

    mask: Tensor
    image_latents: Tensor
    noise: Tensor

    def over(self, kept: Tensor, painted: Tensor) -> Tensor:
        return (1 - self.mask) * kept + self.mask * painted


@dataclass(slots=True, eq=False)
class Canvas:
    """`latents` (1, 4, h, w) and `pred_original`, the clean ones predicted, are float32 on the device.

    `timesteps` belong to the sampler, `unet_timesteps` are the same numbers as float32 on the device; `extra_channels`
    (1, 5, h, w) are what an inpainting UNet reads besides. Where `step_failed`, the sampler stopped amid a step: what
    it remembers of earlier steps cannot be trusted.
    """

    recipe: Recipe
    index: int
    checkpoint: Checkpoint
    conditioning: Conditioning
    sampler: Any
    step_options: dict[str, Any]
    timesteps: Tensor
    unet_timesteps: Tensor
    latents: Tensor
    repaint: Repaint | None = None
    extra_channels: Tensor | None = None
    warnings: tuple[str, ...] = ()
    pred_original: Tensor | None = None
    steps_done: int = 0
    step_failed: bool = False
    batch_key: Hashable = field(init=False)

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.batch_key = (
            recipe.checkpoint_digest or recipe.checkpoint,
            recipe.blend.unet_key,
            recipe.paint_width,
            recipe.paint_height,
            recipe.guided,
        )

    @property
    def steps_total(self) -> int:
        return len(self.timesteps)
