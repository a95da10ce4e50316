"""Starts an engine as its process does, tells the seconds of each part as JSON: imports, opening, the first picture.

python -m benchmarks.starting FOLDER DATA --device cuda --dtype float16 --side 1024 --steps 30
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.engines import Look, Place
    from benchmarks.figures import Row

PARTS = ("imports", "opening", "first picture", "second picture")


def start_rows(folder: Path, data: Path, place: Place, look: Look, repeats: int) -> Iterator[Row]:
    """Medians of processes started one after another; the files are in the system's memory."""
    from benchmarks.figures import seconds_row

    starts = [_started(folder, data, place, look) for _ in range(repeats)]
    for part in PARTS:
        yield seconds_row(f"start: {part}, seconds", None, [start[part] for start in starts])
    ready = [start["imports"] + start["opening"] for start in starts]
    yield seconds_row("start: from nothing to ready, seconds", None, ready)


def _started(folder: Path, data: Path, place: Place, look: Look) -> dict[str, float]:
    options = {"device": place.device, "dtype": place.dtype, "side": look.side, "steps": look.steps}
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "benchmarks.starting", str(folder), str(data), *words]
    told: dict[str, float] = json.loads(subprocess.check_output(command).splitlines()[-1])
    return told


def measure(folder: Path, data: Path, device: str, dtype: str, side: int, steps: int) -> dict[str, float]:
    start = time.perf_counter()
    from benchmarks.engines import Bench, Look, Place

    imported = time.perf_counter()
    with Bench(folder, data, Place(device, dtype), Look(side, steps, guidance=5.0)) as bench:
        opened = time.perf_counter()
        first = bench.paint()
        second = median(bench.paint() for _ in range(3))
    return dict(zip(PARTS, (imported - start, opened - imported, first, second), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    print(json.dumps(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
