"""Takes a checkpoint, gives the rows of an engine from its opening until all that is compiled beside is taken up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, seconds_row
from sdxl_gateway.engine.unet.decoder import Decoder
from sdxl_gateway.engine.unet.denoiser import Denoiser


def settling_rows(
    folder: Path, data: Path, place: Place, look: Look, repeats: int, patience_seconds: float
) -> Iterator[Row]:
    """Pictures one after another, as a server paints them, while code is made for them; then by it."""
    start = time.perf_counter()
    with Bench(folder, data, place, look) as bench:
        yield seconds_row("ready after, imports left out, seconds", None, [time.perf_counter() - start])
        opened = time.perf_counter()
        before = [bench.paint()]
        yield seconds_row("first picture once ready, seconds", None, before)
        while not settled(bench) and time.perf_counter() - opened < patience_seconds:
            before.append(bench.paint())
        name = "compiled and taken up after" if settled(bench) else "not compiled yet after"
        yield seconds_row(f"{name}, seconds", None, [time.perf_counter() - opened])
        yield seconds_row(f"picture of {look.steps} steps meanwhile, seconds", None, before)
        then = [bench.paint() for _ in range(1 + repeats)][1:]
        yield seconds_row(f"picture of {look.steps} steps then, seconds", None, then)


def settled(bench: Bench) -> bool:
    """A guided picture's steps and its decode have code of their own, where code is made at all."""
    checkpoint = bench.checkpoint
    if not (isinstance(checkpoint.denoiser, Denoiser) and isinstance(checkpoint.decoder, Decoder)):
        return True
    return bool(checkpoint.denoiser._codes) and bool(checkpoint.decoder._codes)
