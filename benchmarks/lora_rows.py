"""Takes a checkpoint, gives the rows of LoRAs on it: switches, cold loads, steps with a blend on; diffusers beside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmarks.adapter_files import Shapes, kept_adapter, rank_of_bytes
from benchmarks.diffusers_fusing import FusingPipeline
from benchmarks.engines import Bench, Look, Place, blend_of
from benchmarks.figures import Row, ratio_row, seconds_row
from benchmarks.loras import cold_load_seconds, switch_row
from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.core.events import BlendSwitched
from sdxl_gateway.core.recipe import NO_BLEND, Blend

STEP_PROMISE = 1.02


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is painted and how often; `load_bytes` is the size of the LoRA that is loaded cold."""

    look: Look
    repeats: int
    rank: int
    load_bytes: int


def lora_rows(folder: Path, data: Path, place: Place, scale: Scale) -> Iterator[Row]:
    """All of one number format; `folder` is any checkpoint's and `place` any device."""
    shapes = module_shapes(folder)
    with Bench(folder, data, place, scale.look) as bench:
        bench.paint()
        yield seconds_row(f"{place.dtype}: picture, seconds", None, [bench.paint() for _ in range(scale.repeats)])
        yield from _switch_rows(bench, data, shapes, place.dtype, scale)
        loads, stalls = _cold_loads(bench, data, shapes, place.dtype, scale)
        size = f"{scale.load_bytes / 1e6:.3g} MB"
        yield seconds_row(f"{place.dtype}: cold load of a LoRA of {size}, seconds", None, [load for load, _ in loads])
        yield stalls
    if place.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**30
        yield Row(f"{place.dtype}: peak memory, GiB", peak, None, True, "torch's own count", 1)
    fused = _fusings(folder, data, shapes, place, scale)
    ours = [load + switch for load, switch in loads]
    yield ratio_row(f"{place.dtype}: that cold LoRA put on / diffusers' load and fuse", None, ours, fused)


def _switch_rows(bench: Bench, data: Path, shapes: Shapes, dtype: str, scale: Scale) -> Iterator[Row]:
    """One adapter for another, three for another three; then what a blend costs once it is on."""
    digests = [kept_adapter(data, shapes, scale.rank, seed) for seed in range(6)]
    for size in (1, 3):
        blends = blend_of(digests[:size]), blend_of(digests[3 : 3 + size])
        name = f"{dtype}: switch to a warm blend of {size} of rank {scale.rank}, in denoising steps"
        yield switch_row(name, bench, blends, 2 * scale.repeats)
    yield _step_row(bench, blend_of(digests[:3]), dtype, scale)


def _step_row(bench: Bench, blend: Blend, dtype: str, scale: Scale) -> Row:
    """Medians of the steps of whole pictures; the first step is left out, as the switch is part of it."""
    on: list[float] = []
    off: list[float] = []
    for _ in range(scale.repeats):
        for seconds, each in ((on, blend), (off, NO_BLEND)):
            canvas = bench.begun(each)
            seconds.append(median(bench.steps(canvas)[1:]))
            bench.release(canvas.recipe)
    return ratio_row(f"{dtype}: step with a blend of 3 on / off", STEP_PROMISE, on, off)


def _cold_loads(
    bench: Bench, data: Path, shapes: Shapes, dtype: str, scale: Scale
) -> tuple[list[tuple[float, float]], Row]:
    """Of each cold LoRA the load and the writing of its weights; and how the steps of a picture beside a load fare."""
    rank = rank_of_bytes(shapes, scale.load_bytes)
    loads, longest, usual = [], [], []
    for seed in range(scale.repeats):
        alone, beside = (kept_adapter(data, shapes, rank, 100 + 2 * seed + i) for i in range(2))
        load = cold_load_seconds(bench, alone)
        bench.start(blend_of([alone]))
        loads.append((load, sum(told.seconds for told in bench.told(BlendSwitched))))
        slowest, median_step = _steps_beside_load(bench, blend_of([beside]))
        longest.append(slowest)
        usual.append(median_step)
    name = f"{dtype}: longest step while such a LoRA loads / median step without"
    return loads, ratio_row(name, None, longest, usual)


def _steps_beside_load(bench: Bench, cold: Blend) -> tuple[float, float]:
    """The longest step while `cold` comes from the disk, and the median step of a picture painted alone before."""
    alone = bench.begun()
    usual = median(bench.steps(alone)[1:])
    bench.release(alone.recipe)
    canvas = bench.begun()
    bench.step(canvas)
    recipe = bench.recipe(cold)
    coming = bench.prefetch(recipe)
    beside = [bench.step(canvas)]
    while not coming.done() and canvas.steps_done < canvas.steps_total:
        beside.append(bench.step(canvas))
    coming.result()
    bench.release(recipe)
    bench.release(canvas.recipe)
    return max(beside), usual


def _fusings(folder: Path, data: Path, shapes: Shapes, place: Place, scale: Scale) -> list[float]:
    """Seconds diffusers takes to read such a LoRA and fuse it into the UNet, the system having the file in memory."""
    rank = rank_of_bytes(shapes, scale.load_bytes)
    pipeline = FusingPipeline(folder, place)
    digests = [kept_adapter(data, shapes, rank, 100 + 2 * seed) for seed in range(scale.repeats)]
    return [pipeline.put_on(store_path(data, digest)) for digest in digests]
