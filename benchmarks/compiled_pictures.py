"""Takes a rig, gives the rows of whole pictures by code that is compiled and recorded: alone, and together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.adapter_files import kept_adapter
from benchmarks.compiling import ALONE, TOGETHER, bench_of, taken_up
from benchmarks.engines import Bench, blend_of
from benchmarks.figures import Row, ratio_row, seconds_row, seconds_text
from benchmarks.finishing import beside_rows, sidelines
from benchmarks.rig import Rig
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.core.recipe import NO_BLEND, Blend

PICTURE_PROMISE_SECONDS = 1.0
"""Of the most steps."""
RATE_PROMISE = 2.4
STEP_PROMISE = 1.01
SAMPLERS = ("unipc", "euler_a", "dpmpp_2m")
WARM_UPS = 2
PAIRS = 3
BLEND_RANK = 16


def alone_rows(rig: Rig) -> Iterator[Row]:
    """One guided picture after another; what its memory, samplers, decode and blends are to it."""
    start = time.perf_counter()
    with bench_of(rig) as bench:
        yield seconds_row("ready after, nothing compiled, seconds", None, [time.perf_counter() - start])
        yield seconds_row("first picture once ready, seconds", None, [bench.paint()])
        yield taken_up(bench, rig, ALONE)
        _forget_peak(rig)
        for steps in rig.lengths:
            promise = PICTURE_PROMISE_SECONDS if steps == max(rig.lengths) else None
            bench.take_steps(steps)
            yield seconds_row(f"picture of {steps} steps, seconds", promise, _taken(rig, bench.paint))
        yield from peak_rows(rig)
        for name, sideline in sidelines(torch.device(bench.engine.device)):
            yield from beside_rows(bench, name, sideline, min(rig.repeats, PAIRS))
        for sampler in SAMPLERS:
            yield _sampler_row(bench, rig, sampler)
        yield _blend_row(bench, rig.folder, rig.data, rig.repeats)


def together_rows(rig: Rig) -> Iterator[Row]:
    """Four guided pictures that share their steps."""
    count = TOGETHER // 2
    with bench_of(rig) as bench:
        bench.take_steps(steps := min(rig.lengths))
        bench.paint_together(count)
        yield taken_up(bench, rig, TOGETHER)
        _forget_peak(rig)
        seconds = _taken(rig, partial(bench.paint_together, count))
        detail = f"{seconds_text(median(seconds))} for all"
        name = f"pictures of {steps} steps a second, {count} together"
        yield Row(name, count / median(seconds), RATE_PROMISE, False, detail, len(seconds))
        yield from peak_rows(rig)


def _taken(rig: Rig, paint: Callable[[], float]) -> list[float]:
    return [paint() for _ in range(WARM_UPS + rig.repeats)][WARM_UPS:]


def _forget_peak(rig: Rig) -> None:
    if rig.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_rows(rig: Rig) -> Iterator[Row]:
    """Since it was last forgotten; none on a CPU."""
    if rig.on_gpu:
        asked, held = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        yield Row("peak memory, GiB", asked / 2**30, None, True, f"{held / 2**30:.2f} held, torch's own count", 1)


def _sampler_row(bench: Bench, rig: Rig, sampler: str) -> Row:
    """Whole pictures in turn with Euler's."""
    taken: dict[str, list[float]] = {sampler: [], "euler": []}
    for _ in range(1 + min(rig.repeats, PAIRS)):
        for name, seconds in taken.items():
            bench.take_sampler(name)
            seconds.append(bench.paint())
    ours, euler = (seconds[1:] for seconds in taken.values())
    return ratio_row(f"picture by {sampler} / by Euler", None, ours, euler)


def _blend_row(bench: Bench, folder: Path, data: Path, repeats: int) -> Row:
    """Whole pictures' medians; the first step is left out, as the switch is part of it."""
    blend = blend_of([kept_adapter(data, module_shapes(folder), BLEND_RANK, 7)])
    pairs = [(_step_seconds(bench, blend), _step_seconds(bench, NO_BLEND)) for _ in range(repeats)]
    on, off = zip(*pairs, strict=True)
    return ratio_row("step with a blend on / off", STEP_PROMISE, on, off)


def _step_seconds(bench: Bench, blend: Blend) -> float:
    canvas = bench.begun(blend)
    found = median(bench.steps(canvas)[1:])
    bench.release(canvas.recipe)
    return found
