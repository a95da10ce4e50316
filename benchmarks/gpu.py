"""Measures a checkpoint of SDXL's real size, random weights, on a GPU: `make bench-gpu`. Says so where there is none.

Times do not depend on what the weights say, so nothing has to be fetched; the 7 GB are written to a temporary folder.
Each section's rows are on the disk before the next begins, in a file named after the card; `--resume` takes up where
an earlier run on the same card ended, and `--only` measures some sections anew. What a switch costs by kind of adapter,
where the host waits, how LoRAs are read and what a full card does are benchmarks of their own: `python -m
benchmarks.switching`, `.syncs`, `.reading`, `.full_card`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks.adapter_files import Shapes, kept_adapter, rank_of_bytes
from benchmarks.checkpoints import checkpoint_rows
from benchmarks.diffusers_fusing import FusingPipeline
from benchmarks.engines import Bench, Look, Place, blend_of
from benchmarks.figures import Row, ratio_row, seconds_row
from benchmarks.finishing import measure as finish_rows
from benchmarks.kernels import kernel_rows
from benchmarks.loras import cold_load_seconds, switch_row
from benchmarks.machine import describe_machine
from benchmarks.products import product_rows
from benchmarks.record import Record
from benchmarks.settling import settling_rows
from benchmarks.starting import start_rows
from benchmarks.steps import LANES, QUICK
from benchmarks.steps import measure as step_rows
from benchmarks.whole_pictures import picture_rows
from sdxl_gateway.admission.defaults import GUIDANCE_SCALE
from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.core.events import BlendSwitched
from sdxl_gateway.core.recipe import NO_BLEND, Blend
from sdxl_gateway.engine.unet.cuda_graphs import CudaRecorder
from sdxl_gateway.telemetry.device import FP8_CAPABILITY
from tools.full_size_model import write_full_size_model

SWITCH_RANK = 64
STEP_PROMISE = 1.02
PATIENCE_SECONDS = 300.0
"""For what is compiled beside the first pictures."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is painted and how often; `load_bytes` is the size of the LoRA that is loaded cold."""

    look: Look
    repeats: int
    rank: int
    load_bytes: int


WHOLE = Scale(Look(side=1024, steps=30, guidance=GUIDANCE_SCALE), repeats=5, rank=SWITCH_RANK, load_bytes=200_000_000)


def measure(folder: Path, data: Path, place: Place, scale: Scale) -> Iterator[Row]:
    """All rows of one number format; `folder` is any checkpoint's and `place` any device."""
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


def _products(folder: Path, data: Path, place: Place, side: int, recorder: CudaRecorder) -> Iterator[Row]:
    """None on a card that does not multiply in 8 bits."""
    if torch.cuda.get_device_capability() >= FP8_CAPABILITY:
        yield from product_rows(folder, data, place, side, QUICK, recorder, "inductor")


def sections(folder: Path, data: Path) -> dict[str, Callable[[], Iterator[Row]]]:
    """By name, in order of what one wants to know first."""
    place, look = Place("cuda", "float16"), WHOLE.look
    served = replace(place, compiled_sizes="auto", cuda_graphs=True)
    recorder = CudaRecorder(torch.device("cuda", 0))
    large = replace(place, max_lanes=LANES)
    return {
        "start": partial(start_rows, folder, data, place, look, 3),
        "settling": partial(settling_rows, folder, data, served, look, WHOLE.repeats, PATIENCE_SECONDS),
        "pictures": partial(picture_rows, folder, data, place, look, WHOLE.repeats),
        "steps": partial(step_rows, folder, data, large, look.side, QUICK, recorder, "inductor"),
        "products": partial(_products, folder, data, large, look.side, recorder),
        "kernels": partial(kernel_rows, folder, data, place, look.side, QUICK, recorder, "inductor"),
        "finishing": partial(finish_rows, folder, data, place, look, WHOLE.repeats),
        "loras": partial(measure, folder, data, place, WHOLE),
        "bfloat16": partial(measure, folder, data, replace(place, dtype="bfloat16"), WHOLE),
        "checkpoints": partial(checkpoint_rows, "SDXL's real size, float16", folder, data, place, WHOLE.repeats),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="SECTION")
    parser.add_argument("--resume", action="store_true", help="leave out sections that the card's file has")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is kept for another run")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("bench-gpu: torch finds no CUDA device here, so nothing was measured.")
        return
    with TemporaryDirectory() as temporary:
        folder, data = arguments.folder or Path(temporary, "sdxl"), Path(temporary, "data")
        data.mkdir()
        if not folder.exists():
            write_full_size_model(folder, "float16")
        record = Record.of_card(describe_machine(torch.get_num_threads(), "cuda"))
        for name, section in sections(folder, data).items():
            if (arguments.only and name not in arguments.only) or (arguments.resume and name in record.sections):
                continue
            record.take(name, section())
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
