"""Asks a CUDA device where the host waits for it: `python -m benchmarks.syncs`, a picture for each sampler and task.

Torch says of each call that waits where it was made (its sync debug mode; "warn" tells of all, where "error" ends with
the first). What waits in a step fails the run; a beginning may wait once, and so may a finish.
tests/engine/test_host_syncs.py counts the same without a device. Elsewhere than on CUDA it paints, and counts nothing.
"""

from __future__ import annotations

import argparse
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from benchmarks.figures import Row
from sdxl_gateway.core.samplers import SAMPLERS
from tests.kit.tasks import Asked, House, house

MODE = "warn"
LIBRARIES = ("sdxl_gateway", "diffusers", "transformers")
DRAWING = {"ddim": {"eta": 0.7}, "tcd": {"eta": 0.3}}
"""Samplers that draw noise where they are asked to."""
STEPS = 4
ALLOWED = {"begin": 1, "step": 0, "finish": 1}

Waits = dict[str, Counter[str]]
"""Of each part of a picture, where the host waited and how often."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--tasks", nargs="*", default=None)
    asked = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        made = house(Path(folder), device=asked.device, dtype=asked.dtype)
        broken = _all(made, asked.samplers, asked.tasks or list(made.tasks))
        made.engine.close()
    return 1 if broken else 0


def _all(made: House, samplers: Sequence[str], tasks: Sequence[str]) -> bool:
    """Tells of each; whether any waited where it must not."""
    broken = False
    for task in tasks:
        for waits in _of_samplers(made, task, samplers):
            broken |= any(sum(where.values()) > ALLOWED[part] for part, where in waits.items())
    return broken


def sync_rows(device: str, samplers: Sequence[str], tasks: Sequence[str]) -> Iterator[Row]:
    """Of each task the most waits in any sampler's beginning, in all its steps, and in its finish."""
    with TemporaryDirectory() as folder:
        made = house(Path(folder), device=device, dtype="auto")
        for task in tasks:
            found = list(_of_samplers(made, task, samplers))
            for part, allowed in ALLOWED.items():
                most = max(sum(waits[part].values()) for waits in found)
                yield Row(f"{task}: waits, {part}", most, allowed, True, "the most of any sampler", len(samplers))
        made.engine.close()


def _of_samplers(made: House, task: str, samplers: Sequence[str]) -> Iterator[Waits]:
    """Tells of each."""
    made.paint(made.tasks[task])  # its models are near, and the device's libraries awake
    for sampler in samplers:
        start = perf_counter()
        waits = _waits(made, made.tasks[task].by(sampler, steps=STEPS, prompt=sampler, **DRAWING.get(sampler, {})))
        _tell(f"{task}, {sampler}", waits, perf_counter() - start)
        yield waits


def _waits(made: House, asked: Asked) -> Waits:
    waits: Waits = {}
    with _watched(waits.setdefault("begin", Counter())):
        canvas = made.begin(asked)
    while canvas.steps_done < canvas.steps_total:
        with _watched(waits.setdefault("step", Counter())):
            made.engine.step([canvas])
    with _watched(waits.setdefault("finish", Counter())):
        made.engine.finish(canvas).result()
    return waits


@contextmanager
def _watched(waits: Counter[str]) -> Iterator[None]:
    """Where this thread waits for the device is counted in `waits`."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _counting(waits, threading.get_ident())
        _sync_debug_mode(MODE)
        try:
            yield
        finally:
            _sync_debug_mode("default")


def _counting(waits: Counter[str], thread: int) -> Callable[..., None]:
    def show(message: Warning | str, *_: Any) -> None:
        if "synchronizing CUDA operation" in str(message) and threading.get_ident() == thread:
            waits[_place()] += 1

    return show


def _place() -> str:
    frames = [frame for frame in traceback.extract_stack() if any(f"/{one}/" in frame.filename for one in LIBRARIES)]
    return " <- ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-3:]))


def _sync_debug_mode(mode: str) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode(mode)


def _tell(title: str, waits: Waits, seconds: float) -> None:
    counts = ", ".join(f"{part} {sum(where.values())}" for part, where in waits.items())
    print(f"{title:32} waits: {counts}  ({seconds:.2f} s)", flush=True)
    for part, where in waits.items():
        for place, times in where.items():
            print(f"    {part}: {times} at {place}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
