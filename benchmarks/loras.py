"""Takes an engine or a folder, gives the rows about LoRAs alone: what a switch, a cold load and a listing cost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.adapter_files import kept_adapter, rank_of_bytes, write_small_files
from benchmarks.engines import Bench, Look, Place, blend_of
from benchmarks.figures import Row, ratio_row, seconds_row, seconds_text
from benchmarks.painting import SIDE, STEPS, default_guidance
from benchmarks.servers import ROOT
from sdxl_gateway.catalog.lora_folder.copies import keep_copy, store_path
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_LORAS, DEMO_MODEL
from sdxl_gateway.core.events import AdapterLoaded, BlendSwitched
from sdxl_gateway.core.recipe import Blend
from sdxl_gateway.engine.lora.cache import DISK

BUNDLED = ("outline", "sunset", "stripes")
BUNDLED_BYTES = 550_000
SWITCH_PROMISE_STEPS = 1.0
LISTING_PROMISE_SECONDS = 1.0


def demo_rows(threads: int, pairs: int, files: int) -> Iterator[Row]:
    """On the demo model, in this process; `files` lie in the folder that is listed."""
    look = Look(SIDE, STEPS, default_guidance())
    with TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        data.mkdir()
        outline, sunset, stripes = (keep_copy(DEMO_LORAS / f"{name}.safetensors", data) for name in BUNDLED)
        blends = blend_of([stripes], text_weight=0.8), blend_of([outline, sunset], 0.5, text_weight=0.5)
        with Bench(DEMO_MODEL, data, Place(threads=threads), look) as bench:
            yield switch_row("demo model: switch to a warm blend, in denoising steps", bench, blends, pairs)
            yield load_row("demo model", bench, data, DEMO_MODEL, BUNDLED_BYTES, pairs)
        yield from listing_rows(Path(temporary), files, repeats=5)


def switch_row(name: str, bench: Bench, blends: Sequence[Blend], pairs: int) -> Row:
    """A, A, B, B, A, A, ...: what the first picture of each two takes longer to its first step, in steps beside it.

    Prompts are all new, so that a switch of the text encoders is part of it.
    """
    for blend in blends:
        bench.start(blend)
    bench.told(BlendSwitched)
    shares, switches, steps = [], [], []
    for turn in range(pairs):
        blend = blends[turn % len(blends)]
        switched, repeated = bench.start(blend), bench.start(blend)
        steps.append((switched.next_step + repeated.next_step) / 2)
        switches.append(switched.to_first_step - repeated.to_first_step)
        shares.append(switches[-1] / steps[-1])
    rewriting = sum(told.seconds for told in bench.told(BlendSwitched)) / pairs
    detail = f"{seconds_text(median(switches))} of a step of {seconds_text(median(steps))}"
    detail += f"; writing weights {seconds_text(rewriting)}"
    return Row(name, median(shares), SWITCH_PROMISE_STEPS, True, detail, pairs)


def load_row(name: str, bench: Bench, data: Path, folder: Path, size_bytes: int, repeats: int) -> Row:
    """From the disk, as the system has it in memory, to factors ready for the device; each time another file."""
    shapes = module_shapes(folder)
    rank = rank_of_bytes(shapes, size_bytes)
    loads, readings = [], []
    for seed in range(repeats):
        digest = kept_adapter(data, shapes, rank, seed)
        path = store_path(data, digest)
        path.read_bytes()
        readings.append(reading_seconds(path))
        loads.append(cold_load_seconds(bench, digest))
    title = f"{name}: cold load of a LoRA of {size_bytes / 1e6:.3g} MB / reading its file"
    return ratio_row(title, None, loads, readings)


def reading_seconds(path: Path) -> float:
    start = time.perf_counter()
    path.read_bytes()
    return time.perf_counter() - start


def cold_load_seconds(bench: Bench, digest: str) -> float:
    """Raises RuntimeError if the adapter was nearer than the disk."""
    bench.told(AdapterLoaded)
    recipe = bench.recipe(blend_of([digest]))
    bench.prefetch(recipe).result()
    bench.release(recipe)
    (told,) = bench.told(AdapterLoaded)
    if told.source != DISK:
        raise RuntimeError(f"an adapter to be read from disk was found in {told.source}")
    return told.seconds


def listing_rows(work: Path, files: int, repeats: int) -> Iterator[Row]:
    """Headers only: from nothing, and again when nothing changed."""
    folder = work / "many"
    write_small_files(folder, files)
    looks = [_looked(folder, work / f"index-{turn}") for turn in range(repeats)]
    if any(look["listed"] != files for look in looks):
        raise RuntimeError(f"not all of {files} LoRA files were listed")
    name = f"{files} LoRA files listed"
    yield seconds_row(f"{name} for the first time, seconds", LISTING_PROMISE_SECONDS, [look["first"] for look in looks])
    yield seconds_row(f"{name} again, seconds", LISTING_PROMISE_SECONDS, [look["again"] for look in looks])


def _looked(folder: Path, index: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.listing", str(folder), str(index)]
    found: dict[str, float] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return found
