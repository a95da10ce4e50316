"""Takes a checkpoint, gives the rows of an engine from its opening until all that is compiled beside is taken up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.engines import Bench, Look, Place
from benchmarks.figures import Row, seconds_row, seconds_text
from sdxl_gateway.core.events import StepTaken
from sdxl_gateway.engine.unet.compiler import code_folder
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
        bench.all_told()
        before = [bench.paint()]
        yield seconds_row("first picture once ready, seconds", None, before)
        while not settled(bench) and time.perf_counter() - opened < patience_seconds:
            before.append(bench.paint())
        name = "compiled and taken up after" if settled(bench) else "not compiled yet after"
        yield seconds_row(f"{name}, seconds", None, [time.perf_counter() - opened])
        yield from _picture_rows("meanwhile", bench, look, before)
        yield _files_row()
        then = [bench.paint() for _ in range(1 + repeats)][1:]
        yield from _picture_rows("then", bench, look, then)


def _picture_rows(when: str, bench: Bench, look: Look, seconds: Sequence[float]) -> Iterator[Row]:
    """With the longest of their steps, as the device's clock has it, over the usual one."""
    yield seconds_row(f"picture of {look.steps} steps {when}, seconds", None, seconds)
    steps = [one.seconds for one in bench.told(StepTaken)]
    usual, longest = median(steps), max(steps)
    detail = f"{seconds_text(longest)} against {seconds_text(usual)}"
    yield Row(f"longest step {when} / usual", longest / usual, None, True, detail, len(steps))


def _files_row() -> Row:
    """What was compiled by processes of its own, now or before; the engine's own process leaves none."""
    folder = code_folder()
    files = 0 if folder is None else len(list(folder.rglob("*.code")))
    return Row("files of whole code by then", files, None, True, "none where the engine compiled by itself", 1)


def settled(bench: Bench) -> bool:
    """A guided picture's steps and its decode have code of their own, where code is made at all."""
    checkpoint = bench.checkpoint
    if not (isinstance(checkpoint.denoiser, Denoiser) and isinstance(checkpoint.decoder, Decoder)):
        return True
    return bool(checkpoint.denoiser._codes) and bool(checkpoint.decoder._codes)
