"""Takes canvases of one batch key, advances each by one step: one UNet call for all, then each canvas's own sampler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.engine.canvas import Canvas, UNetCall, joined
from sdxl_gateway.engine.errors import give_memory_back, out_of_memory
from sdxl_gateway.engine.models.samplers import clean_latents, take_step
from sdxl_gateway.engine.stages.row_limits import RowLimits
from sdxl_gateway.engine.stages.stage import Stage


class Denoise(Stage):
    """Canvases of a batch may be at different steps of sequences of different lengths, with different samplers."""

    name = "denoise"

    def __init__(self) -> None:
        self._limits = RowLimits()

    @torch.inference_mode()
    def step(self, canvases: Sequence[Canvas]) -> None:
        """Canvases advanced before a failure have counted their step. Raises EngineFault after an interrupted step."""
        if any(canvas.step_failed for canvas in canvases):
            raise EngineFault("An earlier step of this picture failed midway.")
        predictions = predict(canvases, self._limits)
        for canvas, prediction in zip(canvases, predictions, strict=True):
            advance(canvas, prediction)


def predict(canvases: Sequence[Canvas], limits: RowLimits | None = None) -> list[Tensor]:
    """Guided predictions, (1, 4, h, w) float32 each; in smaller batches if one batch runs out of memory."""
    limits = limits or RowLimits()
    if len(canvases) == 1:
        return _predict(canvases)
    if not limits.forbid(canvases):
        try:
            return _predict(canvases)
        except Exception as error:
            if not out_of_memory(error):
                raise
        limits.note(canvases)
        give_memory_back()
    half = len(canvases) // 2
    return predict(canvases[:half], limits) + predict(canvases[half:], limits)


def _predict(canvases: Sequence[Canvas]) -> list[Tensor]:
    call = unet_call(canvases)
    prediction = call.denoiser(call.sample, call.timesteps, **call.arguments, return_dict=False)[0]
    rows = prediction.float().split([canvas.rows for canvas in canvases])
    return [_combined(canvas, own) for canvas, own in zip(canvases, rows, strict=True)]


def unet_call(canvases: Sequence[Canvas]) -> UNetCall:
    """The call of the next step, for canvases of one batch key."""
    checkpoint = canvases[0].checkpoint
    call = UNetCall(
        joined([_scaled_latents(canvas) for canvas in canvases]).to(checkpoint.dtype),
        torch.cat([canvas.unet_timesteps[canvas.steps_done].expand(canvas.rows) for canvas in canvases]),
        checkpoint.unet,
        checkpoint.denoiser,
        text_layers=checkpoint.text_layers,
        blend=canvases[0].phase.blend.unet_key,
    )
    for parts in zip(*(canvas.joining for canvas in canvases), strict=True):
        parts[0].join(parts, call)
    return call


def _scaled_latents(canvas: Canvas) -> Tensor:
    """(rows, 4, h, w), all rows equal."""
    latents: Tensor = canvas.sampler.scale_model_input(canvas.latents, canvas.timesteps[canvas.steps_done])
    return latents.expand(canvas.rows, -1, -1, -1)


def _combined(canvas: Canvas, prediction: Tensor) -> Tensor:
    for part in canvas.parts:
        prediction = part.combined(prediction)
    return prediction


def advance(canvas: Canvas, prediction: Tensor) -> None:
    """Take one step of the canvas's sampler, by the guided prediction, (1, 4, h, w) float32."""
    timestep = canvas.timesteps[canvas.steps_done]
    canvas.step_failed = True
    output = take_step(canvas.sampler, prediction, timestep, canvas.latents, canvas.step_options)
    canvas.pred_original = clean_latents(canvas.sampler, output, prediction, timestep, canvas.latents)
    canvas.latents = output[0]
    for part in canvas.parts:
        part.after_step(canvas)
    _count_step(canvas)
    canvas.step_failed = False


def _count_step(canvas: Canvas) -> None:
    rows = canvas.rows
    canvas.steps_done += 1
    if canvas.rows < rows:
        canvas.parts = tuple(part.of_prompt() for part in canvas.parts)
