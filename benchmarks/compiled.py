"""Measures what compiling the UNet gives on the demo model, on one thread: `make bench-compiled`.

The gateway is compiled for the size that is asked for; what it is compared with is not, since loading a LoRA into a
compiled pipeline compiles it anew. Compiling takes some minutes at first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, publish, ratio_row, taken
from benchmarks.machine import describe_machine
from benchmarks.painting import SIDE, default_guidance
from benchmarks.run import QUICK, THREADS, WHOLE, Effort
from benchmarks.servers import gateway, plain_server
from benchmarks.traffic import mixed_rows
from sdxl_gateway.config import DEMO_MODEL

SIZE = f"{SIDE}x{SIDE}"
WARM_UP_STEPS = 2


def step_rows(folder: Path, data: Path, place: Place, look: Look, repeats: int) -> Iterator[Row]:
    """Steps of the same pictures in turn, compiled and not, alone and four together."""
    compiled = replace(place, compiled_sizes=(f"{look.side}x{look.side}",))
    look = replace(look, steps=WARM_UP_STEPS + repeats)
    with Bench(folder, data, compiled, look) as ours, Bench(folder, data, place, look) as theirs:
        for lanes in (1, 4):
            sides = [(bench, [bench.begun() for _ in range(lanes)]) for bench in (ours, theirs)]
            pairs = [[bench.step(*canvases) for bench, canvases in sides] for _ in range(look.steps)]
            fast, plain = zip(*pairs[WARM_UP_STEPS:], strict=True)
            for bench, canvases in sides:
                for canvas in canvases:
                    bench.release(canvas.recipe)
            yield ratio_row(f"{place.dtype}: step of {lanes}, compiled / not", None, fast, plain)


def measure(data: Path, effort: Effort) -> Iterator[Row]:
    look = Look(SIDE, steps=0, guidance=default_guidance())
    yield from step_rows(DEMO_MODEL, data, Place(threads=THREADS), look, effort.pairs)
    with (
        gateway(THREADS, SDXL_GATEWAY__ENGINE__COMPILED_SIZES=SIZE) as url,
        plain_server(THREADS) as plain_url,
        plain_server(THREADS, "--keep-loaded") as kept_url,
    ):
        yield from mixed_rows(url, plain_url, kept_url, effort.rounds, effort.pictures, title="compiled: ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few samples of each, to see that everything runs")
    quick = parser.parse_args().quick
    with TemporaryDirectory() as data:
        rows = taken(measure(Path(data), QUICK if quick else WHOLE))
    publish(rows, describe_machine(THREADS), "quick.json" if quick else "compiled.json")


if __name__ == "__main__":
    main()
