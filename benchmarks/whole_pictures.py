"""Takes an engine, gives the rows of whole pictures: one alone, several together, and diffusers' own beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.diffusers_fusing import FusingPipeline
from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, ratio_row, seconds_row, seconds_text

TOGETHER = (1, 4)


def picture_rows(
    folder: Path, data: Path, place: Place, look: Look, lengths: Sequence[int], repeats: int
) -> Iterator[Row]:
    """Pictures of so many steps, pictures a second, peak memory; then diffusers' pipeline as it comes."""
    ours = {}
    with Bench(folder, data, place, look) as bench:
        bench.paint()
        for steps in lengths:
            bench.take_steps(steps)
            ours[steps] = [bench.paint() for _ in range(1 + repeats)][1:]
            yield seconds_row(f"{place.dtype}: picture of {steps} steps, seconds", None, ours[steps])
        for count in TOGETHER:
            yield _throughput_row(bench, place, min(lengths), count, repeats)
    if place.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**30
        yield Row(f"{place.dtype}: peak memory, GiB", peak, None, True, "torch's own count", 1)
    pipeline = FusingPipeline(folder, place)
    for steps in lengths:
        theirs = [pipeline.paint(replace(look, steps=steps)) for _ in range(1 + repeats)][1:]
        yield ratio_row(f"{place.dtype}: picture of {steps} steps / diffusers' pipeline", None, ours[steps], theirs)


def _throughput_row(bench: Bench, place: Place, steps: int, count: int, repeats: int) -> Row:
    bench.take_steps(steps)
    bench.paint_together(count)
    rates = [count / bench.paint_together(count) for _ in range(repeats)]
    name = f"{place.dtype}: pictures of {steps} steps a second, {count} together"
    detail = f"{seconds_text(count / max(rates))} for {count}"
    return Row(name, sorted(rates)[len(rates) // 2], None, False, detail, repeats)
