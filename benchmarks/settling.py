"""Takes a checkpoint, gives the rows of an engine from its opening until all that is compiled beside is taken up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.adapter_files import kept_adapter
from benchmarks.diffusers_fusing import FusingPipeline
from benchmarks.engines import Bench, Look, Place, blend_of
from benchmarks.figures import Row, ratio_row, seconds_row, seconds_text
from benchmarks.whole_pictures import LENGTHS
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.core.recipe import NO_BLEND, Blend
from sdxl_gateway.engine.unet.decoder import Decoder
from sdxl_gateway.engine.unet.denoiser import Denoiser

TOGETHER = 4
RANK = 16
STEP_PROMISE = 1.01
PICTURE_PROMISE_SECONDS = 1.0


def settling_rows(
    folder: Path, data: Path, place: Place, look: Look, repeats: int, patience_seconds: float
) -> Iterator[Row]:
    """Pictures one after another, as a server paints them, while code is made for them; then what it gives."""
    start = time.perf_counter()
    with Bench(folder, data, place, look) as bench:
        yield seconds_row("ready after, imports left out, seconds", None, [time.perf_counter() - start])
        opened = time.perf_counter()
        before = [bench.paint()]
        yield seconds_row("first picture once ready, seconds", None, before)
        while not _settled(bench) and time.perf_counter() - opened < patience_seconds:
            before.append(bench.paint())
        yield seconds_row("compiled and taken up after, seconds", None, [time.perf_counter() - opened])
        yield seconds_row(f"picture of {look.steps} steps meanwhile, seconds", None, before)
        ours = {}
        for steps in LENGTHS:
            bench.take_steps(steps)
            for _ in range(4):
                bench.paint()
            ours[steps] = [bench.paint() for _ in range(repeats)]
            promise = PICTURE_PROMISE_SECONDS if steps == max(LENGTHS) else None
            yield seconds_row(f"picture of {steps} steps then, seconds", promise, ours[steps])
        yield _together_row(bench, repeats)
        yield _blend_row(bench, folder, data, repeats)
    if place.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**30
        yield Row("peak memory, GiB", peak, None, True, "torch's own count", 1)
    pipeline = FusingPipeline(folder, place)
    for steps in LENGTHS:
        theirs = [pipeline.paint(replace(look, steps=steps)) for _ in range(repeats + 1)][1:]
        yield ratio_row(f"picture of {steps} steps / diffusers' pipeline", None, ours[steps], theirs)


def _settled(bench: Bench) -> bool:
    """A guided picture's steps and its decode have code of their own, where code is made at all."""
    checkpoint = bench.checkpoint
    if not (isinstance(checkpoint.denoiser, Denoiser) and isinstance(checkpoint.decoder, Decoder)):
        return True
    return bool(checkpoint.denoiser._codes) and bool(checkpoint.decoder._codes)


def _together_row(bench: Bench, repeats: int) -> Row:
    for _ in range(2):
        bench.paint_together(TOGETHER)
    seconds = [bench.paint_together(TOGETHER) for _ in range(repeats)]
    name = f"pictures of {LENGTHS[-1]} steps a second, {TOGETHER} together"
    return Row(name, TOGETHER / median(seconds), None, False, f"{seconds_text(median(seconds))} for all", repeats)


def _blend_row(bench: Bench, folder: Path, data: Path, repeats: int) -> Row:
    """Whole pictures' medians; the first step is left out, as the switch is part of it."""
    blend = blend_of([kept_adapter(data, module_shapes(folder), RANK, 7)])
    on: list[float] = []
    off: list[float] = []
    for _ in range(repeats):
        for seconds, each in ((on, blend), (off, NO_BLEND)):
            seconds.append(_step_seconds(bench, each))
    return ratio_row("step with a blend on / off", STEP_PROMISE, on, off)


def _step_seconds(bench: Bench, blend: Blend) -> float:
    canvas = bench.begun(blend)
    found = median(bench.steps(canvas)[1:])
    bench.release(canvas.recipe)
    return found
