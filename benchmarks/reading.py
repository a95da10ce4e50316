"""Measures how LoRAs come from the disk and from host memory, beside a picture: `python -m benchmarks.reading`.

On a CUDA device with a checkpoint of SDXL's real size and random weights, which is written to a temporary folder unless
one is named; elsewhere with the demo model and small files, to see that everything runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks.adapter_files import Shapes, kept_adapter, kept_variants, rank_of_bytes
from benchmarks.engines import Bench, Look, Place, Stopwatch, blend_of
from benchmarks.figures import Row, publish, ratio_row, seconds_row, seconds_text, taken
from benchmarks.loras import cold_load_seconds, reading_seconds, switch_row
from benchmarks.machine import describe_machine
from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL, Loras, Memory
from sdxl_gateway.engine.canvas import Canvas
from sdxl_gateway.engine.lora.formats import lay_out
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.lora.stored import stored_adapters
from sdxl_gateway.engine.memory import page_locked
from sdxl_gateway.engine.memory.page_locked import Stock
from tools.full_size_model import write_full_size_model

BESIDE_PROMISE = 1.15
KEPT_FAR = 3
"""So few LoRAs stay in host memory that later loads take what earlier ones let go of."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Scale:
    """`rank` of the LoRAs that are switched, `load_bytes` of those that are loaded, `loads` of each kind."""

    place: Place
    look: Look
    rank: int
    load_bytes: int
    loads: int


WHOLE = Scale(Place("cuda", "float16"), Look(1024, 30, 5.0), rank=64, load_bytes=200_000_000, loads=8)
SMALL = Scale(Place("cpu"), Look(64, 8, 5.0), rank=4, load_bytes=550_000, loads=2)


def measure(folder: Path, data: Path, scale: Scale) -> Iterator[Row]:
    shapes = module_shapes(folder)
    loaded = kept_adapter(data, shapes, rank_of_bytes(shapes, scale.load_bytes), seed=1)
    switched = [blend_of([kept_adapter(data, shapes, scale.rank, seed)]) for seed in (2, 3)]
    yield from _part_rows(data, loaded, shapes, scale)
    memory = Memory(host_budget_bytes=KEPT_FAR * store_path(data, loaded).stat().st_size)
    with Bench(folder, data, scale.place, scale.look, memory=memory) as bench:
        yield from _load_rows(bench, data, loaded, scale)
        yield from _beside_rows(bench, data, loaded, shapes, scale)
        yield switch_row(f"switch to a LoRA of rank {scale.rank} on the device, in steps", bench, switched, scale.loads)
    memory = _room_for_pristine_alone(shapes, scale.place)
    with Bench(folder, data, scale.place, scale.look, memory=memory) as bench:
        name = f"switch to a LoRA of rank {scale.rank} in host memory, in steps"
        yield switch_row(name, bench, switched, scale.loads)


def _room_for_pristine_alone(shapes: Shapes, place: Place) -> Memory:
    """On the device: LoRAs are then copied there from host memory at every switch."""
    linears = sum(prod(shape) for name, shape in shapes.items() if name.startswith("unet.") and len(shape) == 2)
    return Memory(vram_budget_bytes=getattr(torch, place.dtype).itemsize * linears + MIB, pristine="device")


def _part_rows(data: Path, digest: str, shapes: Shapes, scale: Scale) -> Iterator[Row]:
    """What a cold load is made of, each part to its end; the first one is left out."""
    device = torch.device(scale.place.device)
    parts: dict[str, list[float]] = {}
    for _ in range(scale.loads + 1):
        with _timed(parts, "header and plan", device):
            file = stored_adapters(data, shapes, Loras())(digest)
        with _timed(parts, "layout", device):
            layout = lay_out(file)
        with _timed(parts, "reading and testing", device):
            factors = read_factors(layout, pinned=device.type == "cuda")
        with _timed(parts, "copy to the device and views", device):
            factors.on(device)
    yield from (seconds_row(f"of a cold load: {part}, seconds", None, each[1:]) for part, each in parts.items())


@contextmanager
def _timed(parts: dict[str, list[float]], part: str, device: torch.device) -> Iterator[None]:
    watch = Stopwatch(device)
    yield
    parts.setdefault(part, []).append(watch.seconds())


def _load_rows(bench: Bench, data: Path, digest: str, scale: Scale) -> Iterator[Row]:
    loads, readings, locked = [], [], []
    for cold in kept_variants(data, digest, range(scale.loads)):
        readings.append(reading_seconds(store_path(data, cold)))
        loads.append(cold_load_seconds(bench, cold))
        locked.append(_driver_calls())
    size = f"{scale.load_bytes / 1e6:.3g} MB"
    yield ratio_row(f"cold load of a LoRA of {size} / reading its file", None, loads, readings)
    settled = locked[len(locked) // 2 :]
    name = "page-locked pieces asked of the driver by the later half of the loads"
    yield Row(name, settled[-1] - settled[0], 0.0, True, "torch's own count", len(settled))


def _driver_calls() -> float:
    """How often page-locked memory was asked of CUDA's driver so far."""
    return float(torch.cuda.host_memory_stats()["num_host_alloc"]) if torch.cuda.is_available() else 0.0


def _beside_rows(bench: Bench, data: Path, digest: str, shapes: Shapes, scale: Scale) -> Iterator[Row]:
    """Steps alone, beside a load, and beside the same load in another process, in turn."""
    alone: list[float] = []
    beside: list[float] = []
    elsewhere: list[float] = []
    steps, locking = _Steps(bench), list[float]()
    for cold in kept_variants(data, digest, range(200, 200 + scale.loads)):
        with _nothing_locked_ahead():
            locking += _steps_beside_load(bench, steps, cold)
    with _reader(data, digest, shapes) as reader:
        for cold in kept_variants(data, digest, range(100, 100 + scale.loads)):
            alone += (steps.one() for _ in range(4))
            beside += _steps_beside_load(bench, steps, cold)
            alone += (steps.one() for _ in range(4))
            reader.send(True)
            elsewhere += steps.until(reader.poll)
            reader.recv()
    steps.end()
    yield _steps_row("median step beside a load / alone", BESIDE_PROMISE, median(beside), median(alone), len(beside))
    yield _steps_row("longest step beside a load / median alone", None, max(beside), median(alone), len(beside))
    name = "longest step beside a load that has its pages locked / median alone"
    yield _steps_row(name, None, max(locking), median(alone), len(locking))
    other = "beside the same load in another process"
    yield _steps_row(f"median step {other} / alone", None, median(elsewhere), median(alone), len(elsewhere))
    yield _steps_row(f"longest step {other} / median alone", None, max(elsewhere), median(alone), len(elsewhere))


def _steps_beside_load(bench: Bench, steps: _Steps, cold: str) -> list[float]:
    recipe = bench.recipe(blend_of([cold]))
    coming = bench.prefetch(recipe)
    found = steps.until(coming.done)
    coming.result()
    bench.release(recipe)
    return found


@contextmanager
def _nothing_locked_ahead() -> Iterator[None]:
    """Whoever wants page-locked memory has to ask the driver."""
    kept, page_locked.stock = page_locked.stock, Stock()
    # Where it is by torch's version; not in a build for CPUs.
    for name in ("_host_emptyCache", "_accelerator_emptyHostCache"):
        if torch.cuda.is_available() and hasattr(torch._C, name):
            getattr(torch._C, name)()
    try:
        yield
    finally:
        page_locked.stock = kept


def _steps_row(name: str, promise: float | None, seconds: float, alone: float, count: int) -> Row:
    detail = f"{seconds_text(seconds)} against {seconds_text(alone)}"
    return Row(name, seconds / alone, promise, True, detail, count)


class _Steps:
    """Steps of one picture after another; the first of each, which may switch, is not counted."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._canvas = self._begun()

    def one(self) -> float:
        """Seconds of the next."""
        if self._canvas.steps_done == self._canvas.steps_total:
            self.end()
            self._canvas = self._begun()
        return self._bench.step(self._canvas)

    def until(self, done: Callable[[], bool]) -> list[float]:
        """Of those, one at least, that began before something was done."""
        found = [self.one()]
        while not done():
            found.append(self.one())
        return found

    def end(self) -> None:
        self._bench.release(self._canvas.recipe)

    def _begun(self) -> Canvas:
        canvas = self._bench.begun()
        self._bench.step(canvas)
        return canvas


@contextmanager
def _reader(data: Path, digest: str, shapes: Shapes) -> Iterator[Connection]:
    """Another process, which reads the file whenever it is sent anything, and answers when it has."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_read_when_asked, args=(theirs, data, digest, shapes), daemon=True)
    process.start()
    theirs.close()
    mine.recv()
    try:
        yield mine
    finally:
        mine.close()
        process.join()


def _read_when_asked(asked: Connection, data: Path, digest: str, shapes: Shapes) -> None:
    asked.send(True)
    try:
        while asked.recv():
            layout = lay_out(stored_adapters(data, shapes, Loras())(digest))
            read_factors(layout, pinned=False).on(torch.device("cpu"))
            asked.send(True)
    except EOFError:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a checkpoint of SDXL's real size")
    folder = parser.parse_args().folder
    on_gpu = torch.cuda.is_available()
    with TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        data.mkdir()
        if folder is None and on_gpu:
            write_full_size_model(folder := Path(temporary, "sdxl"), "float16")
        scale = WHOLE if on_gpu else SMALL
        rows = taken(measure(folder if on_gpu else DEMO_MODEL, data, scale))
    machine = describe_machine(torch.get_num_threads(), scale.place.device)
    publish(rows, machine, "reading.json" if on_gpu else "quick.json")


if __name__ == "__main__":
    main()
