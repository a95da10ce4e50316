"""Takes a rig, gives engines that paint by code compiled for some rows alone; has code compiled before it is needed.

What is compiled once is found on the disk by all later processes, where tracing is what remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.engines import Bench
from benchmarks.figures import Row, seconds_row
from benchmarks.products import IN_8_BITS
from benchmarks.rig import Rig
from sdxl_gateway.config import Memory
from sdxl_gateway.engine.canvas import PartFactory
from sdxl_gateway.engine.compile import Denoisers, Todo
from sdxl_gateway.engine.load import PARTS, plain_parts
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger
from sdxl_gateway.engine.unet.recorded import Tape

ALONE, TOGETHER = 2, 8
"""Rows of one guided picture, and of four."""


def bench_of(rig: Rig, memory: Memory | None = None) -> Bench:
    """Nothing is compiled or recorded in it."""
    plain = replace(rig.place, compiled_sizes=(), cuda_graphs=False)
    return Bench(rig.folder, rig.data, plain, rig.look, memory=memory)


def taken_up(bench: Bench, rig: Rig, rows: int) -> Row:
    """From now on the bench paints calls of so many rows, and decodes, by code of their own; what compiling took."""
    watch = bench.watch()
    recorder = rig.recorder()
    tape = None if recorder is None else Tape(recorder, Ledger({VRAM: None}))
    denoisers = Denoisers(_todo(bench, rig, rows), tape, rig.backend)
    denoisers.compile()
    bench.paint_with(denoisers.attach(bench.checkpoint))
    return seconds_row(f"compiling {rows} rows and the decode, seconds", None, [watch.seconds()])


def _todo(bench: Bench, rig: Rig, rows: int, parts: Sequence[PartFactory] | None = None) -> Todo:
    parts = plain_parts(Ledger({VRAM: None})) if parts is None else parts
    return replace(Todo.of(bench.checkpoint, parts, [rig.size], TOGETHER // 2), rows=(rows,))


def compile_together(rig: Rig) -> Iterator[Row]:
    """What four pictures call."""
    yield from _ahead(rig, TOGETHER)


def compile_products(rig: Rig) -> Iterator[Row]:
    """What one picture calls of a UNet that multiplies in 8 bits."""
    yield from _ahead(rig, ALONE, memory=IN_8_BITS)


def compile_texts(rig: Rig) -> Iterator[Row]:
    """What one picture would call if texts were read in every step."""
    yield from _ahead(rig, ALONE, parts=PARTS)


def _ahead(
    rig: Rig, rows: int, memory: Memory | None = None, parts: Sequence[PartFactory] | None = None
) -> Iterator[Row]:
    with bench_of(rig, memory) as bench:
        watch = bench.watch()
        Denoisers(replace(_todo(bench, rig, rows, parts), latents={}), None, rig.backend).compile()
        yield seconds_row(f"compiling {rows} rows beside other compilers, seconds", None, [watch.seconds()])
