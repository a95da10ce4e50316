"""Measures a UNet whose large layers multiply in 8 bits: `python -m benchmarks.gpu --only products`, on a GPU that can.

How far one call's prediction is off from that of 16 bits, what a switch costs, and all that benchmarks.steps tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.adapter_files import kept_adapter
from benchmarks.engines import Bench, Look, Place, blend_of
from benchmarks.figures import Row
from benchmarks.loras import switch_row
from benchmarks.steps import Effort
from benchmarks.steps import measure as step_rows
from sdxl_gateway.admission.defaults import GUIDANCE_SCALE
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import Memory
from sdxl_gateway.core.recipe import NO_BLEND, Blend
from sdxl_gateway.engine.compile import Todo
from sdxl_gateway.engine.load import PARTS
from sdxl_gateway.engine.unet.compiled import Backend
from sdxl_gateway.engine.unet.recorded import Recorder

IN_8_BITS = Memory(products="fp8")
RANK = 64


def product_rows(
    folder: Path, data: Path, place: Place, side: int, effort: Effort, recorder: Recorder | None, backend: Backend
) -> Iterator[Row]:
    """Rows named as those of benchmarks.steps tell of products of 8 bits."""
    look = Look(side, effort.steps[0], GUIDANCE_SCALE)
    digests = [kept_adapter(data, module_shapes(folder), RANK, seed) for seed in (1, 2)]
    blends = NO_BLEND, blend_of(digests[:1])
    with Bench(folder, data, place, look) as bench:
        exact = [_predicted(bench, blend, side) for blend in blends]
    with Bench(folder, data, place, look, memory=IN_8_BITS) as bench:
        for name, blend, wanted in zip(("without a LoRA", "with one"), blends, exact, strict=True):
            off = (_predicted(bench, blend, side) - wanted).norm() / wanted.norm()
            yield Row(f"prediction {name}: how far off, of its size", float(off), None, True, "one call, one step", 1)
        warm = blend_of(digests[:1]), blend_of(digests[1:])
        yield switch_row(f"switch to a warm LoRA of rank {RANK}, in denoising steps", bench, warm, 2 * effort.pictures)
    yield from step_rows(folder, data, place, side, effort, recorder, backend, memory=IN_8_BITS)


def _predicted(bench: Bench, blend: Blend, side: int) -> Tensor:
    """By the UNet as it is, of a trial's latents and texts; (1, 4, h, w) float32 on the host."""
    canvas = bench.begun(blend)
    bench.step(canvas)
    bench.release(canvas.recipe)
    (call,) = Todo.of(bench.checkpoint, PARTS, [f"{side}x{side}"], 1).calls.values()
    with torch.inference_mode():
        return call.made(bench.checkpoint.unet).float().cpu()
