"""Measures what a compiler costs the steps beside it: `python -m benchmarks.compilers`, with the demo model on a CPU.

On a thread of the steps' process, in a process of its own, and where only what that made is loaded. Each has steps
alone before and after, on one thread as a server's engine takes them; nothing compiled is found on the disk.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread

import torch

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, publish, seconds_row, seconds_text, taken
from benchmarks.machine import describe_machine
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine.compile import Todo
from sdxl_gateway.engine.load import plain_parts
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.unet.compiled import compiled
from sdxl_gateway.engine.unet.compiler import CACHE_VARIABLE, Compiler
from sdxl_gateway.engine.unet.target import CompileTarget, traceable
from sdxl_gateway.engine_main import TURN_SECONDS

ROWS = 2
SIDE, STEPS = 64, 20
SIZE = f"{SIDE}x{SIDE}"
ALONE_STEPS = 20


class Steps:
    """Of one picture after another."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._canvas = bench.begun()

    def one(self) -> float:
        """Seconds of the next."""
        if self._canvas.steps_done == self._canvas.steps_total:
            self._bench.release(self._canvas.recipe)
            self._canvas = self._bench.begun()
        return self._bench.step(self._canvas)


class Work:
    """Something done on a thread; `computed` are the seconds of a processor that the thread took."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.seconds = self.computed = 0.0
        self.thread = Thread(target=self._run)
        self.thread.start()

    @torch.inference_mode()
    def _run(self) -> None:
        start, computed = time.perf_counter(), time.thread_time()
        self._work()
        self.seconds, self.computed = time.perf_counter() - start, time.thread_time() - computed


def compiler_rows(bench: Bench, folder: Path, backend: str) -> Iterator[Row]:
    """Each way with a folder of its own for torch's pieces of code, but for what is loaded from the folder before."""
    steps, target = Steps(bench), _target(bench)
    for _ in range(ALONE_STEPS):
        steps.one()
    ways: dict[str, tuple[str, Callable[[], object]]] = {
        "on a thread": ("thread", lambda: compiled(target, backend)),
        "in a process": ("process", lambda: Compiler(backend).code(target)),
        "loaded": ("process", lambda: Compiler(backend).code(target)),
    }
    for name, (place, way) in ways.items():
        os.environ[CACHE_VARIABLE] = str(folder / place)
        yield from _rows(name, steps, way)


def _rows(name: str, steps: Steps, way: Callable[[], object]) -> Iterator[Row]:
    alone = [steps.one() for _ in range(ALONE_STEPS)]
    work, beside = Work(way), list[float]()
    while work.thread.is_alive():
        beside.append(steps.one())
    alone += [steps.one() for _ in range(ALONE_STEPS)]
    usual = median(alone)
    yield seconds_row(f"{name}: code is there after, seconds", None, [work.seconds])
    yield seconds_row(f"{name}: of those this process computes, seconds", None, [work.computed])
    for kind, seconds in (("median", median(beside)), ("longest", max(beside))):
        detail = f"{seconds_text(seconds)} against {seconds_text(usual)}"
        yield Row(f"{name}: {kind} step meanwhile / median alone", seconds / usual, None, True, detail, len(beside))
    yield Row(f"{name}: longest step alone / median alone", max(alone) / usual, None, True, "", len(alone))


def _target(bench: Bench) -> CompileTarget:
    todo = Todo.of(bench.checkpoint, plain_parts(Ledger({VRAM: None})), [SIZE], ROWS // 2)
    return CompileTarget.of_unet(traceable(bench.checkpoint.unet), todo.calls[SIZE].repeated(ROWS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="inductor", help="eager: tracing alone, to see that everything runs")
    backend = parser.parse_args().backend
    sys.setswitchinterval(TURN_SECONDS)
    place, look = Place(threads=1), Look(SIDE, STEPS, 5.0)
    with TemporaryDirectory() as folder, Bench(DEMO_MODEL, Path(folder), place, look) as bench:
        rows = taken(compiler_rows(bench, Path(folder), backend))
        publish(rows, describe_machine(1, "cpu"), "compilers.json" if backend == "inductor" else "quick.json")


if __name__ == "__main__":
    main()
