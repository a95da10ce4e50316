"""Takes a rig, gives the sections of a GPU's benchmark, in the order in which their answers are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from benchmarks import reading
from benchmarks.checkpoints import checkpoint_rows
from benchmarks.compiled_pictures import alone_rows, together_rows
from benchmarks.compiling import compile_products, compile_texts, compile_together
from benchmarks.figures import Row
from benchmarks.finishing import measure as finish_rows
from benchmarks.kernels import kernel_rows
from benchmarks.loading import loading_rows
from benchmarks.lora_rows import Scale, lora_rows
from benchmarks.products import product_rows
from benchmarks.rig import Rig
from benchmarks.settling import settling_rows
from benchmarks.starting import start_rows
from benchmarks.steps import LANES
from benchmarks.steps import measure as step_rows
from benchmarks.switching import switching_rows
from benchmarks.syncs import sync_rows
from benchmarks.whole_pictures import picture_rows
from sdxl_gateway.core.samplers import SAMPLERS
from sdxl_gateway.engine.unet.calls import BUCKETS
from sdxl_gateway.telemetry.device import FP8_CAPABILITY

SYNC_TASKS = ("text", "inpaint")
START_PATIENCE_SECONDS = 60.0

Rows = Callable[[Rig], Iterator[Row]]


@dataclass(frozen=True)
class Stage:
    """Sections that are measured beside each other, and the most seconds they may take."""

    seconds: float
    sections: Mapping[str, Rows]


def _start(rig: Rig) -> Iterator[Row]:
    patience = min(START_PATIENCE_SECONDS, rig.patience_seconds)
    return start_rows(rig.folder, rig.data, rig.served, rig.look, 1, patience)


def _ahead(compiled: Rows, rig: Rig) -> Iterator[Row]:
    if compiled is not compile_products or _multiplies_in_8_bits(rig):
        yield from compiled(rig)


def _products(rig: Rig) -> Iterator[Row]:
    if _multiplies_in_8_bits(rig):
        place = replace(rig.place, max_lanes=LANES)
        given = rig.folder, rig.data, place, rig.look.side, rig.effort
        yield from product_rows(*given, rig.recorder(), rig.backend)


def _multiplies_in_8_bits(rig: Rig) -> bool:
    return rig.on_gpu and torch.cuda.get_device_capability() >= FP8_CAPABILITY


def _kernels(rig: Rig) -> Iterator[Row]:
    return kernel_rows(rig.folder, rig.data, rig.place, rig.look.side, rig.effort, rig.recorder(), rig.backend)


def _syncs(rig: Rig) -> Iterator[Row]:
    return sync_rows(rig.place.device, list(SAMPLERS) if rig.on_gpu else ["unipc"], SYNC_TASKS)


def _diffusers(rig: Rig) -> Iterator[Row]:
    return picture_rows(rig.folder, rig.data, rig.place, rig.look, rig.lengths, min(rig.repeats, 2))


def _switching(rig: Rig) -> Iterator[Row]:
    return switching_rows(rig.on_gpu, rig.repeats)


def _finishing(rig: Rig) -> Iterator[Row]:
    return finish_rows(rig.folder, rig.data, rig.place, replace(rig.look, steps=min(rig.lengths)), rig.repeats)


def _reading(rig: Rig) -> Iterator[Row]:
    scale = reading.Scale(rig.place, rig.look, rig.rank, rig.load_bytes, loads=max(rig.repeats, 2))
    return reading.measure(rig.folder, rig.data, scale)


def _settling(rig: Rig) -> Iterator[Row]:
    return settling_rows(rig.folder, rig.data, rig.served, rig.look, rig.repeats, rig.patience_seconds)


def _steps(rig: Rig) -> Iterator[Row]:
    """Of each number of rows that code is made for, which takes minutes where it is not there yet."""
    place = replace(rig.place, max_lanes=LANES)
    effort = replace(rig.effort, rows=BUCKETS if rig.on_gpu else rig.effort.rows)
    return step_rows(rig.folder, rig.data, place, rig.look.side, effort, rig.recorder(), rig.backend)


def _loras(dtype: str | None, rig: Rig) -> Iterator[Row]:
    place = rig.place if dtype is None else replace(rig.place, dtype=dtype)
    scale = Scale(rig.look, rig.repeats, rig.rank, rig.load_bytes)
    return lora_rows(rig.folder, rig.data, place, scale)


def _checkpoints(rig: Rig) -> Iterator[Row]:
    return checkpoint_rows(f"{rig.folder.name}, {rig.place.dtype}", rig.folder, rig.data, rig.place, rig.repeats)


def _loading(rig: Rig) -> Iterator[Row]:
    return loading_rows(rig.folder, rig.place, min(rig.repeats, 3))


AHEAD: Mapping[str, Rows] = {
    "compiling-together": partial(_ahead, compile_together),
    "compiling-products": partial(_ahead, compile_products),
    "compiling-texts": partial(_ahead, compile_texts),
}
STAGES = (
    Stage(210, {"settling": _settling}),
    Stage(210, {"pictures": alone_rows}),
    Stage(180, {**AHEAD, "syncs": _syncs}),
    Stage(150, {"together": together_rows}),
    Stage(100, {"start": _start}),
    Stage(60, {"loading": _loading}),
    Stage(90, {"reading": _reading}),
    Stage(150, {"products": _products}),
    Stage(150, {"kernels": _kernels}),
    Stage(60, {"diffusers": _diffusers}),
    Stage(45, {"switching": _switching}),
    Stage(60, {"finishing": _finishing}),
    Stage(400, {"steps": _steps}),
    Stage(150, {"loras": partial(_loras, None)}),
    Stage(60, {"checkpoints": _checkpoints}),
    Stage(150, {"bfloat16": partial(_loras, "bfloat16")}),
)
"""What was never measured comes first. A first start has code compiled beside its pictures, which later sections find;
other code is compiled beside each other, and beside what is only counted."""
