"""Measures a guided step before and after each lever of its kernels: `python -m benchmarks.kernels`.

On a CUDA device with a checkpoint of SDXL's real size, or `--folder`; elsewhere the demo model in small, uncompiled.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, taken
from benchmarks.steps import QUICK, Effort, recorded, replayed, timed
from sdxl_gateway.admission.defaults import GUIDANCE_SCALE
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine.canvas import PartFactory
from sdxl_gateway.engine.device import sum_in_half
from sdxl_gateway.engine.load import PARTS, plain_parts
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.trial import call_of, trial_canvas
from sdxl_gateway.engine.unet.calls import Call
from sdxl_gateway.engine.unet.compiled import Backend
from sdxl_gateway.engine.unet.compiler import Compiler
from sdxl_gateway.engine.unet.cuda_graphs import CudaRecorder
from sdxl_gateway.engine.unet.recorded import Recorder
from sdxl_gateway.engine.unet.target import CompileTarget, traceable
from tools.full_size_model import write_full_size_model

ROWS = 2
SELF_ATTENTIONS = ((10, 4096, 640), (60, 1024, 1280))
"""How many, places at 1024x1024, width."""
TOKENS = 77


def kernel_rows(
    folder: Path,
    data: Path,
    place: Place,
    side: int,
    effort: Effort,
    recorder: Recorder | None,
    backend: Backend | None,
) -> Iterator[Row]:
    """A guided picture's call in each way; without a `backend` nothing is compiled."""
    plain = replace(place, compiled_sizes=(), cuda_graphs=False)
    with Bench(folder, data, plain, Look(side, effort.steps[0], GUIDANCE_SCALE)) as bench:
        bench.paint()
        made = bench.checkpoint
        before, after = (_call(made, parts, side) for parts in (PARTS, plain_parts(Ledger({VRAM: None}))))
        ways = {"texts read in every step": before, "their keys and values ready": after}
        for name, call in ways.items():
            yield from _as_it_is(name, made, call, effort, recorder)
        yield from _making_rows(made, effort)
        yield from _sum_rows(made, after, effort, recorder)
        if recorder is not None:
            yield from _projection_rows(made, effort, recorder)
        if backend is not None:
            for name, call in ways.items():
                yield from _compiled(name, made, call, effort, recorder, backend)
        made.unet.to(memory_format=torch.contiguous_format)
        yield from _as_it_is("not channels-last", made, after, effort, recorder)


def _call(checkpoint: Checkpoint, parts: Sequence[PartFactory], side: int) -> Call:
    return call_of(trial_canvas(checkpoint, parts, side, side)).repeated(ROWS)


def _compiled(
    name: str, made: Checkpoint, call: Call, effort: Effort, recorder: Recorder | None, backend: Backend
) -> Iterator[Row]:
    with torch.inference_mode():
        code = Compiler(backend).code(CompileTarget.of_unet(traceable(made.unet), call))
    compiled = partial(code, made.unet)
    yield from timed(f"{name}, compiled", made.device, effort, partial(call.made, compiled))
    yield from recorded(f"{name}, compiled", made, effort, recorder, call, compiled)


def _as_it_is(name: str, made: Checkpoint, call: Call, effort: Effort, recorder: Recorder | None) -> Iterator[Row]:
    yield from timed(f"{name}, as it is", made.device, effort, partial(call.made, made.unet))
    yield from recorded(f"{name}, as it is", made, effort, recorder, call, made.unet)


def _making_rows(made: Checkpoint, effort: Effort) -> Iterator[Row]:
    """Once for a picture and a blend."""
    text = torch.zeros(ROWS, TOKENS, made.unet.config.cross_attention_dim, dtype=made.dtype, device=made.device)
    yield from timed("making keys and values", made.device, effort, lambda: made.text_layers.keys_and_values(text))


def _sum_rows(made: Checkpoint, call: Call, effort: Effort, recorder: Recorder | None) -> Iterator[Row]:
    """What `engine.fp16_accumulation` gives, which depends on the card."""
    sum_in_half(made.device, True)
    yield from _as_it_is("products summed in float16", made, call, effort, recorder)
    sum_in_half(made.device, False)


def _projection_rows(made: Checkpoint, effort: Effort, recorder: Recorder) -> Iterator[Row]:
    """Of all SDXL's self-attentions queries, keys and values: three products each, or one by weights side by side."""
    given = [
        (count, _numbers(made, ROWS, places, width), [_numbers(made, width, width) for _ in range(3)])
        for count, places, width in SELF_ATTENTIONS
    ]
    fused = [(count, x, [torch.cat(weights)]) for count, x, weights in given]
    for name, each in {"three products": given, "one product": fused}.items():
        with torch.inference_mode():
            _projected(each)  # a capture may not wait for what a first product loads
            recording = recorder.record(partial(_projected, each))
        yield from timed(
            f"queries, keys and values in {name}, recorded", made.device, effort, partial(replayed, recording)
        )


def _numbers(made: Checkpoint, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=made.dtype, device=made.device)


def _projected(given: Sequence[tuple[int, Tensor, Sequence[Tensor]]]) -> Tensor:
    found = given[0][1]
    for count, x, weights in given:
        for weight in [*weights] * count:
            found = linear(x, weight)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a full-size checkpoint that is there already")
    folder, on_gpu = parser.parse_args().folder or DEMO_MODEL, torch.cuda.is_available()
    with TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        data.mkdir()
        if on_gpu and folder == DEMO_MODEL:
            folder = Path(temporary, "sdxl")
            write_full_size_model(folder, "float16")
        place = Place("cuda", "float16") if on_gpu else Place(threads=1, max_lanes=1)
        recorder = CudaRecorder(torch.device("cuda", 0)) if on_gpu else None
        side, backend = (1024, "inductor") if on_gpu else (64, None)
        taken(kernel_rows(folder, data, place, side, QUICK, recorder, backend))


if __name__ == "__main__":
    main()
