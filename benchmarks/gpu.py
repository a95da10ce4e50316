"""Measures a checkpoint of SDXL's real size, random weights, on a GPU: `make bench-gpu`. Says so where there is none.

Times do not depend on what the weights say, so nothing has to be fetched; the 7 GB are written to a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from benchmarks.figures import RESULTS
from benchmarks.machine import describe_machine
from sdxl_gateway.catalog.checkpoints import fingerprint, module_shapes
from sdxl_gateway.catalog.store import keep_copy
from sdxl_gateway.config import Checkpoint, Engine, Settings
from sdxl_gateway.core.events import AdapterLoaded, BlendSwitched, Measurement
from sdxl_gateway.core.picture import NO_INPUTS
from sdxl_gateway.core.recipe import NO_BLEND, Blend, BlendPart, Recipe, Task
from sdxl_gateway.engine.load import open_engine
from sdxl_gateway.engine.painter import DiffusionEngine
from tools.full_size_model import write_full_size_model

SIDE = 1024
STEPS = 30
RANK = 16
REPEATS = 5
LORAS = 2
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


class Bench:
    """One engine in one number format, and what it told about itself."""

    def __init__(self, folder: Path, data: Path, dtype: str) -> None:
        self._told: list[Measurement] = []
        settings = Settings(
            data_directory=data,
            checkpoints={"sdxl": Checkpoint(path=str(folder))},
            engine=Engine.model_validate({"device": "cuda", "dtype": dtype}),
        )
        self._digest = fingerprint(folder)
        torch.cuda.reset_peak_memory_stats()
        self._engine: DiffusionEngine = open_engine(settings.engine_process(), self._told.append)

    def recipe(self, blend: Blend = NO_BLEND, steps: int = STEPS) -> Recipe:
        return Recipe(
            task=Task.TEXT_TO_IMAGE,
            checkpoint="sdxl",
            checkpoint_digest=self._digest,
            blend=blend,
            prompt="a lighthouse at dusk",
            negative_prompt="blurry",
            width=SIDE,
            height=SIDE,
            paint_width=SIDE,
            paint_height=SIDE,
            steps=steps,
            guidance_scale=5.0,
            sampler="euler",
            seed=1,
        )

    def paint(self, recipe: Recipe) -> tuple[float, float]:
        """Seconds for the whole picture, and for its steps alone."""
        self._engine.prefetch(recipe).result()
        whole = _Stopwatch()
        canvas = self._engine.begin(recipe, 0, NO_INPUTS)
        steps = _Stopwatch()
        while canvas.steps_done < canvas.steps_total:
            self._engine.step([canvas])
        step_seconds = steps.seconds()
        self._engine.finish(canvas)
        self._engine.release(recipe)
        return whole.seconds(), step_seconds

    def first_step(self, blend: Blend) -> float:
        """Seconds of the first step of a picture with this blend, the switch included."""
        recipe = self.recipe(blend, steps=2)
        self._engine.prefetch(recipe).result()
        canvas = self._engine.begin(recipe, 0, NO_INPUTS)
        watch = _Stopwatch()
        self._engine.step([canvas])
        seconds = watch.seconds()
        self._engine.step([canvas])
        self._engine.release(recipe)
        return seconds

    def told(self, kind: type[AdapterLoaded] | type[BlendSwitched]) -> list[float]:
        return [m.seconds for m in self._told if isinstance(m, kind)]

    def close(self) -> None:
        self._engine.close()
        torch.cuda.empty_cache()


class _Stopwatch:
    """Counts from now until the device has done everything asked of it."""

    def __init__(self) -> None:
        torch.cuda.synchronize()
        self._start = time.perf_counter()

    def seconds(self) -> float:
        torch.cuda.synchronize()
        return time.perf_counter() - self._start


def write_lora(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> Path:
    """A rank-16 LoRA on every attention layer of the UNet, in diffusers' layout."""
    save_file(dict(_factors(shapes, torch.Generator().manual_seed(seed))), path)
    return path


def _factors(shapes: dict[str, tuple[int, ...]], generator: torch.Generator) -> Iterator[tuple[str, torch.Tensor]]:
    for module, shape in shapes.items():
        if module.startswith("unet.") and module.endswith(TARGETS) and len(shape) == 2:
            rows, columns = shape
            yield f"{module}.lora_A.weight", (torch.randn(RANK, columns, generator=generator) / 100).half()
            yield f"{module}.lora_B.weight", (torch.randn(rows, RANK, generator=generator) / 100).half()


def measure(folder: Path, data: Path, dtype: str) -> dict[str, float]:
    """Medians; seconds and bytes."""
    shapes = module_shapes(folder)
    digests = [keep_copy(write_lora(data / f"{dtype}-{i}.safetensors", shapes, i), data) for i in range(LORAS)]
    blends = [Blend.of([BlendPart(digest, 0.8, 0.0)]) for digest in digests]
    bench = Bench(folder, data, dtype)
    bench.paint(bench.recipe(steps=2))
    plain = [bench.paint(bench.recipe()) for _ in range(REPEATS)]
    for blend in blends:
        bench.first_step(blend)
    found = {
        "picture_seconds": median(whole for whole, _ in plain),
        "step_seconds": median(steps for _, steps in plain) / STEPS,
        "adapter_cold_load_seconds": median(bench.told(AdapterLoaded)[:LORAS]),
        **_switch_figures(bench, blends),
        "blend_on_picture_seconds": median(bench.paint(bench.recipe(blends[0]))[0] for _ in range(REPEATS)),
        "peak_memory_bytes": float(torch.cuda.max_memory_allocated()),
    }
    bench.close()
    return found


def _switch_figures(bench: Bench, blends: list[Blend]) -> dict[str, float]:
    """The first step after a switch less a first step that needs none."""
    switched, repeated = [], []
    for turn in range(2 * REPEATS):
        switched.append(bench.first_step(blends[turn % 2]))
        repeated.append(bench.first_step(blends[turn % 2]))
    pairs = zip(switched, repeated, strict=True)
    return {"blend_switch_seconds": median(a - b for a, b in pairs), "first_step_seconds": median(repeated)}


def publish(found: dict[str, dict[str, float]], machine: dict[str, Any]) -> None:
    table = Table("figure", *found)
    for name in next(iter(found.values())):
        table.add_row(name, *(_shown(name, figures[name]) for figures in found.values()))
    Console(width=120).print(table)
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": machine, "side": SIDE, "steps": STEPS, "repeats": REPEATS, "figures": found}
    (RESULTS / "gpu.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _shown(name: str, figure: float) -> str:
    show: Callable[[float], str] = (lambda f: f"{f / 2**30:.2f} GiB") if name.endswith("_bytes") else "{:.4f} s".format
    return show(figure)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not torch.cuda.is_available():
        print("bench-gpu: torch finds no CUDA device here, so nothing was measured.")
        return
    with TemporaryDirectory() as temporary:
        folder, data = Path(temporary, "sdxl"), Path(temporary, "data")
        data.mkdir()
        write_full_size_model(folder)
        found = {dtype: measure(folder, data, dtype) for dtype in ("float16", "bfloat16")}
    publish(found, describe_machine(torch.get_num_threads(), "cuda"))


if __name__ == "__main__":
    main()
