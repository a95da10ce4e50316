"""Takes a single file, gives what loading it costs beside reading it."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import torch

from benchmarks.figures import Row, ratio_row
from sdxl_gateway.engine.models.checkpoint import Source, load_checkpoint
from sdxl_gateway.engine.models.placement import Placement

CHUNK_BYTES = 64 * 2**20
CPU = Placement.everything_on(torch.device("cpu"))


def single_file_row(source: Source, dtype: torch.dtype, repeats: int) -> Row:
    """From the disk, as the system has it in memory, to models on the CPU, in pairs with reading all of the file."""
    loads, readings = [], []
    for _ in range(repeats):
        readings.append(_reading_seconds(source.path))
        # Models that compute in another format than they are kept in go round in circles.
        gc.collect()
        start = time.perf_counter()
        load_checkpoint(source, CPU, dtype)
        loads.append(time.perf_counter() - start)
    size = source.path.stat().st_size
    return ratio_row(f"a single file of {size / 1e9:.3g} GB loaded / read", None, loads, readings)


def _reading_seconds(path: Path) -> float:
    buffer = bytearray(CHUNK_BYTES)
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start
