"""Guidance: the UNet's text and size inputs, and classifier-free guidance of its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Self

import torch
from torch import Tensor

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.engine.canvas import Canvas, StepPart, UNetCall, joined
from sdxl_gateway.engine.device import to_device

AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5
"""A refiner's inputs for the prompt and the negative prompt, as diffusers' defaults."""


@dataclass(frozen=True, slots=True, eq=False)
class Guidance(StepPart):
    """One row for each of the canvas's UNet rows; of two, the negative prompt's is first.

    `tokens` is (rows, chunks * 77, width), `pooled` (rows, projection), `time_ids` (rows, 6), or (rows, 5) for a
    refiner; `scale_embedding` is (1, width) for a UNet that was distilled to take the guidance scale as an input, else
    None. `rescale` (0..1) is how far the standard deviation of the prompt's own prediction is restored.
    """

    scale: float
    rescale: float
    tokens: Tensor
    pooled: Tensor
    time_ids: Tensor
    scale_embedding: Tensor | None = None

    @classmethod
    def begin(cls, canvas: Canvas) -> Self:
        """For every canvas. Raises EngineFault if recipe and UNet disagree whether guidance is embedded."""
        recipe, checkpoint = canvas.recipe, canvas.checkpoint
        if recipe.embeds_guidance != checkpoint.embeds_guidance:
            raise EngineFault("The recipe was made for a checkpoint with another kind of guidance.")
        positive, negative, time_ids = canvas.positive, canvas.negative, _time_ids(canvas)
        if canvas.rows == 1:
            return cls(recipe.guidance_scale, 0.0, positive.tokens, positive.pooled, time_ids, _scale_embedding(canvas))
        return cls(
            recipe.guidance_scale,
            recipe.guidance_rescale,
            torch.cat([negative.tokens, positive.tokens]),
            torch.cat([negative.pooled, positive.pooled]),
            time_ids,
        )

    def handed_over(self, canvas: Canvas) -> Self:
        """Made anew, from the texts as encoded for the next model."""
        return self.begin(canvas)

    def of_prompt(self) -> Self:
        """Without the negative prompt's row."""
        return replace(self, tokens=self.tokens[-1:], pooled=self.pooled[-1:], time_ids=self.time_ids[-1:])

    @property
    def key(self) -> int:
        """The number of tokens: texts of different lengths cannot be rows of one tensor."""
        return self.tokens.shape[1]

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Add the texts, the size, and the scale if the UNet reads it."""
        embeddings = [part.scale_embedding for part in parts if part.scale_embedding is not None]
        call.arguments["encoder_hidden_states"] = joined([part.tokens for part in parts])
        call.arguments["timestep_cond"] = joined(embeddings) if embeddings else None
        call.arguments["added_cond_kwargs"] = {
            "text_embeds": joined([part.pooled for part in parts]),
            "time_ids": joined([part.time_ids for part in parts]),
        }

    def combined(self, prediction: Tensor) -> Tensor:
        """Classifier-free guidance of (rows, 4, h, w), giving (1, 4, h, w)."""
        if len(self.tokens) == 1:
            return prediction
        negative, positive = prediction.chunk(2)
        guided = negative + self.scale * (positive - negative)
        return _rescaled(guided, positive, self.rescale) if self.rescale else guided


def _time_ids(canvas: Canvas) -> Tensor:
    """Each row's original size, crop origin and target size; for a refiner an aesthetic score in place of the last."""
    checkpoint, size = canvas.checkpoint, (canvas.recipe.paint_height, canvas.recipe.paint_width)
    last = ((AESTHETIC_SCORE,), (NEGATIVE_AESTHETIC_SCORE,)) if checkpoint.refines else (size, size)
    rows = [(*size, 0, 0, *own) for own in (last[:1] if canvas.rows == 1 else last[::-1])]
    return to_device(torch.tensor(rows), checkpoint.device, checkpoint.dtype)


def _rescaled(guided: Tensor, positive: Tensor, share: float) -> Tensor:
    """With `share` of the standard deviation of the prompt's own prediction: section 3.4 of arXiv:2305.08891."""
    dims = list(range(1, guided.ndim))
    own = guided * (positive.std(dim=dims, keepdim=True) / guided.std(dim=dims, keepdim=True))
    return share * own + (1 - share) * guided


def _scale_embedding(canvas: Canvas) -> Tensor | None:
    """(1, width): the sinusoidal embedding of the guidance scale, for a UNet distilled with it; else None."""
    checkpoint, width = canvas.checkpoint, canvas.checkpoint.unet.config.time_cond_proj_dim
    if width is None:
        return None
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(log(10000.0) / (half - 1)))
    scale = canvas.recipe.guidance_scale - 1
    angles = torch.tensor([scale * 1000.0], dtype=torch.float32)[:, None] * frequencies[None]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    padded = torch.nn.functional.pad(embedding, (0, width - embedding.shape[1]))
    return to_device(padded, checkpoint.device, checkpoint.dtype)
