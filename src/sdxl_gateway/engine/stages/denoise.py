"""Takes canvases of one batch key, advances each by one step: one UNet call, then each one's own sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.engine.canvas import Canvas, Repaint
from sdxl_gateway.engine.errors import give_memory_back, out_of_memory


def step(canvases: Sequence[Canvas]) -> None:
    """The canvases may be at different steps of sequences of different lengths, with different samplers."""
    if any(canvas.step_failed for canvas in canvases):
        raise EngineFault("A step of this picture failed half-way.")
    predictions = predict(canvases)
    for canvas, prediction in zip(canvases, predictions, strict=True):
        _advance(canvas, prediction)


def predict(canvases: Sequence[Canvas]) -> list[Tensor]:
    """Guided predictions, (1, 4, h, w) float32 each; in smaller batches where the device has no room for one."""
    try:
        return _predict(canvases)
    except Exception as error:
        if len(canvases) == 1 or not out_of_memory(error):
            raise
    give_memory_back()
    half = len(canvases) // 2
    return predict(canvases[:half]) + predict(canvases[half:])


def _predict(canvases: Sequence[Canvas]) -> list[Tensor]:
    checkpoint = canvases[0].checkpoint
    conditionings = [canvas.conditioning for canvas in canvases]
    found = checkpoint.denoiser(
        _joined([_unet_input(canvas) for canvas in canvases]).to(checkpoint.dtype),
        torch.cat([c.unet_timesteps[c.steps_done].expand(c.conditioning.rows) for c in canvases]),
        encoder_hidden_states=_joined([c.tokens for c in conditionings]),
        timestep_cond=_joined_guidance(canvases),
        added_cond_kwargs={
            "text_embeds": _joined([c.pooled for c in conditionings]),
            "time_ids": _joined([c.time_ids for c in conditionings]),
        },
        return_dict=False,
    )[0].float()
    rows = found.split([c.rows for c in conditionings])
    return [_guided(canvas, own) for canvas, own in zip(canvases, rows, strict=True)]


def _unet_input(canvas: Canvas) -> Tensor:
    """(rows, channels, h, w)."""
    latents: Tensor = canvas.sampler.scale_model_input(canvas.latents, canvas.timesteps[canvas.steps_done])
    if canvas.extra_channels is not None:
        latents = torch.cat([latents, canvas.extra_channels], dim=1)
    return latents.expand(canvas.conditioning.rows, -1, -1, -1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _joined_guidance(canvases: Sequence[Canvas]) -> Tensor | None:
    parts = [canvas.conditioning.guidance for canvas in canvases]
    return _joined([part for part in parts if part is not None]) if None not in parts else None


def _guided(canvas: Canvas, rows: Tensor) -> Tensor:
    if canvas.conditioning.rows == 1:
        return rows
    negative, positive = rows.chunk(2)
    return negative + canvas.recipe.guidance_scale * (positive - negative)


def _advance(canvas: Canvas, prediction: Tensor) -> None:
    timestep, steps_done = canvas.timesteps[canvas.steps_done], canvas.steps_done + 1
    canvas.step_failed = True
    found = canvas.sampler.step(prediction, timestep, canvas.latents, **canvas.step_options, return_dict=False)
    canvas.latents = found[0]
    # Multistep samplers keep the predicted clean latents instead of giving them.
    canvas.pred_original = found[1] if len(found) > 1 else canvas.sampler.model_outputs[-1]
    if canvas.repaint is not None:
        canvas.latents = canvas.repaint.over(_kept(canvas, canvas.repaint, steps_done), canvas.latents)
    canvas.steps_done, canvas.step_failed = steps_done, False


def _kept(canvas: Canvas, repaint: Repaint, steps_done: int) -> Tensor:
    """The kept image at the noise level of the step that comes after `steps_done`."""
    if steps_done == canvas.steps_total:
        return repaint.image_latents
    add_noise: Callable[..., Tensor] = canvas.sampler.add_noise
    return add_noise(repaint.image_latents, repaint.noise, canvas.timesteps[steps_done : steps_done + 1])
