"""Measures a UNet's calls as they are, compiled and recorded, then whole pictures: `python -m benchmarks.steps`.

On a CUDA device with a checkpoint of SDXL's real size and random weights, in float16 at 1024x1024; elsewhere the demo
model in small. `--quick` takes a guided picture's two rows alone; compiling takes a minute or two for each number of
rows where nothing is kept in the folder that TORCHINDUCTOR_CACHE_DIR names.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.engines import Bench, Look, Place, Stopwatch
from benchmarks.figures import Row, publish, seconds_row, taken
from benchmarks.machine import describe_machine
from sdxl_gateway.admission.defaults import GUIDANCE_SCALE
from sdxl_gateway.config import DEMO_MODEL, Memory
from sdxl_gateway.engine.compile import Todo
from sdxl_gateway.engine.load import plain_parts
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.trial import call_of, trial_canvas
from sdxl_gateway.engine.unet.calls import BUCKETS, Call
from sdxl_gateway.engine.unet.compiled import Backend, Codes
from sdxl_gateway.engine.unet.compiler import Compiler
from sdxl_gateway.engine.unet.cuda_graphs import CudaRecorder
from sdxl_gateway.engine.unet.decoder import DecodeCodes, Decoder
from sdxl_gateway.engine.unet.denoiser import Denoiser
from sdxl_gateway.engine.unet.recorded import Recorder, Recordings, Tape
from sdxl_gateway.engine.unet.target import CompileTarget, traceable
from tools.full_size_model import write_full_size_model

LANES = max(BUCKETS) // 2
WARM_UP_CALLS = 3


@dataclass(frozen=True, slots=True)
class Effort:
    """What is compiled for, how often a call is timed, which pictures are painted, and how engines are opened."""

    rows: tuple[int, ...]
    calls: int
    steps: tuple[int, ...]
    pictures: int
    openings: int


WHOLE = Effort(rows=(2, 1, 4, 8), calls=20, steps=(20, 30), pictures=3, openings=2)
QUICK = Effort(rows=(2,), calls=10, steps=(30,), pictures=2, openings=1)


def measure(
    folder: Path,
    data: Path,
    place: Place,
    side: int,
    effort: Effort,
    recorder: Recorder | None,
    backend: Backend,
    memory: Memory | None = None,
) -> Iterator[Row]:
    """Everything of one number format; without a `recorder` nothing is recorded."""
    plain = replace(place, compiled_sizes=(), cuda_graphs=False)
    with Bench(folder, data, plain, Look(side, effort.steps[0], GUIDANCE_SCALE), memory=memory) as bench:
        yield seconds_row("first picture, seconds", None, [bench.paint()])
        yield from _picture_rows("as it is", bench, effort)
        made, codes = bench.checkpoint, Made({}, {})
        yield from _call_rows(made, side, effort, recorder, backend, codes)
        tape = None if recorder is None else Tape(recorder, Ledger({VRAM: None}))
        for name, ours in {"recorded": Made({}, {}), "compiled and recorded": codes}.items():
            recordings = None if tape is None else Recordings(tape)
            denoiser, decoder = Denoiser(made.unet, ours.calls, recordings), Decoder(made.vae, ours.decodes)
            bench.paint_with(replace(made, denoiser=denoiser, decoder=decoder))
            yield from _picture_rows(name, bench, effort)
    yield from _opening_rows(folder, data, place, side, effort, memory)


@dataclass(frozen=True, slots=True)
class Made:
    """Code that was compiled on the way."""

    calls: Codes
    decodes: DecodeCodes


def _call_rows(
    checkpoint: Checkpoint, side: int, effort: Effort, recorder: Recorder | None, backend: Backend, codes: Made
) -> Iterator[Row]:
    parts = plain_parts(Ledger({VRAM: None}))
    unet, found = checkpoint.unet, Todo.of(checkpoint, parts, [f"{side}x{side}"], LANES)
    call = call_of(trial_canvas(checkpoint, parts, side, side))
    for rows in effort.rows:
        given = call.repeated(rows)
        yield from timed(f"{rows} rows, as it is", checkpoint.device, effort, partial(given.made, unet))
        yield from recorded(f"{rows} rows, as it is", checkpoint, effort, recorder, given, unet)
        watch = Stopwatch(checkpoint.device)
        with torch.inference_mode():
            code = Compiler(backend).code(CompileTarget.of_unet(traceable(unet), given))
        yield seconds_row(f"{rows} rows: compiling, seconds", None, [watch.seconds()])
        codes.calls[given.form, rows] = code
        compiled = partial(code, unet)
        yield from timed(f"{rows} rows, compiled", checkpoint.device, effort, partial(given.made, compiled))
        yield from recorded(f"{rows} rows, compiled", checkpoint, effort, recorder, given, compiled)
    for latents in found.latents.values():
        yield from _decode_rows(checkpoint, latents, effort, backend, codes)


def _decode_rows(
    checkpoint: Checkpoint, latents: Tensor, effort: Effort, backend: Backend, codes: Made
) -> Iterator[Row]:
    vae, device = checkpoint.vae, checkpoint.device
    yield from timed("decode, as it is", device, effort, lambda: vae.decode(latents, return_dict=False)[0])
    watch = Stopwatch(device)
    with torch.inference_mode():
        code = Compiler(backend).code(CompileTarget.of_decode(traceable(vae), latents))
    codes.decodes[latents.shape, latents.dtype] = code
    yield seconds_row("decode: compiling, seconds", None, [watch.seconds()])
    yield from timed("decode, compiled", device, effort, lambda: code(vae, latents))


def recorded(
    name: str, checkpoint: Checkpoint, effort: Effort, recorder: Recorder | None, call: Call, function: Any
) -> Iterator[Row]:
    """What recording the call takes, and `timed` of its recording; nothing without a recorder."""
    if recorder is None:
        return
    watch = Stopwatch(checkpoint.device)
    with torch.inference_mode():
        recording = recorder.record(lambda: call.made(function))
    yield seconds_row(f"{name}: recording, seconds", None, [watch.seconds()])
    held = recorder.held_bytes() / 2**20
    yield Row(f"{name}: memory of all recordings, MiB", held, None, True, "torch's own count", 1)
    yield from timed(f"{name}, recorded", checkpoint.device, effort, lambda: replayed(recording))


def replayed(recording: Any) -> Tensor:
    recording.replay()
    found: Tensor = recording.output.clone()
    return found


def timed(name: str, device: torch.device, effort: Effort, call: Callable[[], Tensor]) -> Iterator[Row]:
    """The device's seconds and the host's, which issues the work."""
    with torch.inference_mode():
        pairs = [_seconds(device, call) for _ in range(WARM_UP_CALLS + effort.calls)][WARM_UP_CALLS:]
    for whose, seconds in zip(("device", "host"), zip(*pairs, strict=True), strict=True):
        yield seconds_row(f"{name}: {whose}, seconds", None, seconds)


def _seconds(device: torch.device, call: Callable[[], Tensor]) -> tuple[float, float]:
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start,) * 2
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    start = time.perf_counter()
    call()
    host = time.perf_counter() - start
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000, host


def _picture_rows(name: str, bench: Bench, effort: Effort) -> Iterator[Row]:
    for steps in effort.steps:
        bench.take_steps(steps)
        bench.paint()
        pictures = [bench.paint() for _ in range(effort.pictures)]
        yield seconds_row(f"{name}: picture of {steps} steps, seconds", None, pictures)


def _opening_rows(
    folder: Path, data: Path, place: Place, side: int, effort: Effort, memory: Memory | None
) -> Iterator[Row]:
    """From nothing to ready, and a first picture: as it is served, and with all of it compiled before."""
    ways = {"recorded": place, "compiled for and recorded": replace(place, compiled_sizes=(f"{side}x{side}",))}
    for name, way in list(ways.items())[: effort.openings]:
        start = time.perf_counter()
        with Bench(folder, data, way, Look(side, effort.steps[0], GUIDANCE_SCALE), memory=memory) as bench:
            yield seconds_row(f"{name}: ready after, seconds", None, [time.perf_counter() - start])
            yield seconds_row(f"{name}: first picture once ready, seconds", None, [bench.paint()])


@contextmanager
def _tuned(options: Sequence[str], cudnn_benchmark: bool) -> Iterator[None]:
    """Inductor's settings by name, all switched on."""
    import torch._inductor.config as inductor

    torch.backends.cudnn.benchmark = cudnn_benchmark
    with inductor.patch(dict.fromkeys(options, True)):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rows alone, and pictures of 30 steps")
    parser.add_argument("--folder", type=Path, help="a full-size checkpoint that is there already")
    parser.add_argument("--inductor", nargs="*", default=(), help="settings of inductor's to switch on, by name")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="have cuDNN try its ways to convolve")
    asked = parser.parse_args()
    effort, on_gpu = QUICK if asked.quick else WHOLE, torch.cuda.is_available()
    with TemporaryDirectory() as temporary, _tuned(asked.inductor, asked.cudnn_benchmark):
        folder, data = asked.folder or DEMO_MODEL, Path(temporary, "data")
        data.mkdir()
        if on_gpu and asked.folder is None:
            folder = Path(temporary, "sdxl")
            write_full_size_model(folder, "float16")
        place = Place("cuda", "float16", max_lanes=LANES) if on_gpu else Place(threads=1, max_lanes=1)
        recorder = CudaRecorder(torch.device("cuda", 0)) if on_gpu else None
        rows = taken(measure(folder, data, place, 1024 if on_gpu else 64, effort, recorder, "inductor"))
    publish(rows, describe_machine(torch.get_num_threads(), "cuda" if on_gpu else "cpu"), "steps.json")


if __name__ == "__main__":
    main()
