"""Starts an engine as its process does, tells the seconds of each part as JSON: imports, opening, the first picture.

python -m benchmarks.starting FOLDER DATA --device cuda --dtype float16 --side 1024 --steps 30
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.engines import Bench, Look, Place
    from benchmarks.figures import Row

PARTS = ("imports", "opening", "first picture", "second picture", "code taken up after", "picture by that code")


READY_PROMISE_SECONDS = 30.0


def start_rows(
    folder: Path, data: Path, place: Place, look: Look, repeats: int, patience_seconds: float = 0.0
) -> Iterator[Row]:
    """Medians of processes started one after another; the files are in the system's memory.

    Where the place compiles beside pictures, each waits so long for the code, without painting.
    """
    from benchmarks.figures import seconds_row

    starts = [_started(folder, data, place, look, patience_seconds) for _ in range(repeats)]
    for part in PARTS:
        yield seconds_row(f"start: {part}, seconds", None, [start[part] for start in starts])
    ready = [start["imports"] + start["opening"] for start in starts]
    yield seconds_row("start: from nothing to ready, seconds", READY_PROMISE_SECONDS, ready)


def _started(folder: Path, data: Path, place: Place, look: Look, patience_seconds: float) -> dict[str, float]:
    options: dict[str, object] = {"device": place.device, "dtype": place.dtype, "threads": place.threads}
    options |= {"side": look.side, "steps": look.steps}
    options |= {"compiled": place.compiled_sizes or "", "patience": patience_seconds}
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "benchmarks.starting", str(folder), str(data), *words]
    told: dict[str, float] = json.loads(subprocess.check_output(command).splitlines()[-1])
    return told


def measure(asked: argparse.Namespace) -> dict[str, float]:
    """What `main` was asked for."""
    start = time.perf_counter()
    from benchmarks.engines import Bench, Look, Place

    imported = time.perf_counter()
    place = Place(asked.device, asked.dtype, asked.threads, compiled_sizes=asked.compiled or ())
    with Bench(asked.folder, asked.data, place, Look(asked.side, asked.steps, guidance=5.0)) as bench:
        opened = time.perf_counter()
        first = bench.paint()
        second = median(bench.paint() for _ in range(3))
        code = _seconds_until_settled(bench, asked.patience) if asked.compiled else 0.0
        then = bench.paint()  # one, before the next code is compiled beside it
    return dict(zip(PARTS, (imported - start, opened - imported, first, second, code, then), strict=True))


def _seconds_until_settled(bench: Bench, patience_seconds: float) -> float:
    """`patience_seconds` where it is not by then."""
    from benchmarks.settling import settled

    start = time.perf_counter()
    while not settled(bench) and time.perf_counter() - start < patience_seconds:
        time.sleep(0.05)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compiled", choices=("", "auto"), default="", help="what the engine compiles for")
    parser.add_argument("--patience", type=float, default=0.0, help="seconds to wait for that code")
    print(json.dumps(measure(parser.parse_args())), flush=True)
    # A thread may still be compiling, which torch does not survive while the interpreter is taken down.
    os._exit(0)


if __name__ == "__main__":
    main()
