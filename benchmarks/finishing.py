"""Measures how pictures end and how an engine begins, on a checkpoint of SDXL's size with random weights.

Decodes whole and in tiles, other pictures' steps beside a decode, looks at running pictures, told times against true
ones, and the seconds to ready and to the first picture. `python -m benchmarks.finishing`, on CUDA or, slowly, a CPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from benchmarks.engines import Bench, Look, Place, Stopwatch
from benchmarks.figures import Row, publish, ratio_row, seconds_row, taken
from benchmarks.machine import describe_machine
from sdxl_gateway.admission.defaults import GUIDANCE_SCALE
from sdxl_gateway.core.events import StageTimed, StepTaken
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.latents import decoded
from sdxl_gateway.engine.load import stages_of
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.sideline import Sideline, stream_beside
from sdxl_gateway.engine.stages.looks import decoded_by, decoded_small, linear_rgb
from tools.full_size_model import write_full_size_model

IMPORTS = ("torch", "diffusers", "transformers", "sdxl_gateway.engine.load")


def measure(folder: Path, data: Path, place: Place, look: Look, repeats: int) -> Iterator[Row]:
    """All rows; `folder` is any checkpoint's and `place` any device."""
    yield from import_rows()
    start = perf_counter()
    with Bench(folder, data, place, look) as bench:
        yield seconds_row("from imports to ready", None, [perf_counter() - start])
        yield from first_picture_rows(bench)
        canvas = bench.begun()
        bench.steps(canvas)
        yield from decode_rows(canvas, bench.watch, repeats)
        yield from look_rows(canvas, bench.watch, repeats)
        bench.release(canvas.recipe)
        yield from told_rows(bench)
        for name, sideline in sidelines(torch.device(bench.engine.device)):
            yield from beside_rows(bench, name, sideline, repeats)


def import_rows() -> Iterator[Row]:
    """In a process of its own, one after the other: what an engine process pays before it reads a weight."""
    code = "import time; print(time.perf_counter())\n" + "".join(
        f"import {name}; print(time.perf_counter())\n" for name in IMPORTS
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    at = [float(line) for line in told]
    for name, before, after in zip(IMPORTS, at, at[1:], strict=False):
        yield seconds_row(f"import of {name}", None, [after - before])


def first_picture_rows(bench: Bench) -> Iterator[Row]:
    """The first picture pays for what the device loads late; the second does not. Parts as the engine tells them."""
    for name in ("first", "second"):
        yield seconds_row(f"{name} picture, seconds", None, [bench.paint()])
        told = list(bench.all_told())
        steps = [one.seconds for one in told if isinstance(one, StepTaken)]
        yield seconds_row(f"{name} picture, its first step as told", None, steps[:1])
        for stage in ("encode", "prepare", "decode"):
            seconds = [one.seconds for one in told if isinstance(one, StageTimed) and one.stage == stage]
            yield seconds_row(f"{name} picture, {stage} as told", None, seconds)


def decode_rows(canvas: Canvas, watch: Callable[[], Stopwatch], repeats: int) -> Iterator[Row]:
    """Seconds, and on CUDA the memory beside what was held before."""
    checkpoint = canvas.checkpoint
    own = checkpoint.vae.dtype
    for dtype in {own, torch.bfloat16, torch.float16} if checkpoint.device.type == "cuda" else {own}:
        checkpoint.vae.to(dtype)
        for kind, pixels in (("whole", checkpoint.placement.whole_pixels), ("in tiles", 0)):
            sized = replace(checkpoint, placement=replace(checkpoint.placement, whole_pixels=pixels))
            name = f"{str(dtype).removeprefix('torch.')}: decode {kind}"
            yield from _decodes(name, sized, canvas.latents, watch, repeats)
    checkpoint.vae.to(own)


def _decodes(
    name: str, checkpoint: Checkpoint, latents: Tensor, watch: Callable[[], Stopwatch], repeats: int
) -> Iterator[Row]:
    with torch.inference_mode():
        decoded(checkpoint, latents)
        held = _peak_reset(checkpoint.device)
        seconds = [timed(watch, lambda: decoded(checkpoint, latents)) for _ in range(repeats)]
    yield seconds_row(f"{name}, seconds", None, seconds)
    if checkpoint.device.type == "cuda":
        beside = (torch.cuda.max_memory_allocated() - held) / 2**30
        yield Row(f"{name}, peak GiB beside the weights", beside, None, True, "torch's own count", 1)


def _peak_reset(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def timed(watch: Callable[[], Stopwatch], work: Callable[[], object]) -> float:
    """Seconds until the device has done it."""
    begun = watch()
    work()
    return begun.seconds()


@torch.inference_mode()
def look_rows(canvas: Canvas, watch: Callable[[], Stopwatch], repeats: int) -> Iterator[Row]:
    """The device's part of a look at a running picture; `tiny` is of TAESDXL's shape."""
    checkpoint, latents = canvas.checkpoint, canvas.latents
    tiny = AutoencoderTiny().to(checkpoint.device, checkpoint.dtype).eval()
    ways: dict[str, Callable[[], Tensor]] = {
        "linear": lambda: linear_rgb(latents),
        "tiny VAE": lambda: decoded_by(tiny, latents),
        "VAE, small": lambda: decoded_small(checkpoint, latents),
    }
    for name, way in ways.items():
        way()
        yield seconds_row(f"look by {name}, seconds", None, [timed(watch, way) for _ in range(repeats)])


def told_rows(bench: Bench) -> Iterator[Row]:
    """What the engine tells of its steps, without being waited for, against a watch around all of them."""
    canvas = bench.begun()
    bench.engine.step([canvas])
    bench.all_told()
    watch, count = bench.watch(), canvas.steps_total - canvas.steps_done
    for _ in range(count):
        bench.engine.step([canvas])
    true = watch.seconds() / count
    bench.engine.finish(canvas).result()
    told = [one.seconds for one in bench.all_told() if isinstance(one, StepTaken)]
    bench.release(canvas.recipe)
    yield ratio_row("a step as told / true", None, [median(told)], [true])


def sidelines(device: torch.device) -> Iterator[tuple[str, Sideline]]:
    """The ways there are to wait for a picture."""
    yield "on the loop's thread", Sideline()
    if device.type == "cuda":
        yield "on the steps' stream", Sideline(nullcontext, threaded=True)
        yield "on its own stream", Sideline(stream_beside(device), threaded=True)


def beside_rows(bench: Bench, name: str, sideline: Sideline, repeats: int) -> Iterator[Row]:
    """One picture ends while another takes its steps: how long both take together, against the steps alone."""
    pool = bench.engine._pool
    engine = DiffusionEngine(pool, stages_of(pool), lambda _: None, sideline)
    measured = [_beside(bench, engine) for _ in range(repeats)]
    sideline.close()
    beside, alone, ends = [list(seconds) for seconds in zip(*measured, strict=True)]
    added = [both - steps for both, steps in zip(beside, alone, strict=True)]
    yield ratio_row(f"{name}: steps and a decode / the steps alone", None, beside, alone)
    yield seconds_row(f"{name}: what the decode adds to the steps, seconds", None, added)
    yield seconds_row(f"{name}: the picture is there after, seconds", None, ends)


def _beside(bench: Bench, engine: DiffusionEngine) -> tuple[float, float, float]:
    """Seconds of half a picture's steps beside another's decode, of as many alone, and until that picture is there."""
    done, other = bench.begun(), bench.begun()
    engine.step([other])
    while done.steps_done < done.steps_total:
        engine.step([done])
    count = (other.steps_total - 1) // 2
    alone = timed(bench.watch, lambda: _steps(engine, other, count))
    there: list[float] = []
    watch, begun = bench.watch(), perf_counter()
    picture = engine.finish(done)
    picture.add_done_callback(lambda _: there.append(perf_counter() - begun))
    _steps(engine, other, count)
    beside = watch.seconds()
    picture.result()
    for canvas in (done, other):
        bench.release(canvas.recipe)
    return beside, alone, there[0]


def _steps(engine: DiffusionEngine, canvas: Canvas, count: int) -> None:
    for _ in range(count):
        engine.step([canvas])


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    cuda = torch.cuda.is_available()
    place = Place("cuda", "float16") if cuda else Place(threads=1)
    look = Look(1024, 20, GUIDANCE_SCALE)
    machine = describe_machine(torch.get_num_threads(), place.device)
    with TemporaryDirectory() as temporary:
        folder, data = Path(temporary, "sdxl"), Path(temporary, "data")
        data.mkdir()
        write_full_size_model(folder)
        publish(taken(measure(folder, data, place, look, 5)), machine, "finishing.json")


if __name__ == "__main__":
    main()
