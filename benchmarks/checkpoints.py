"""Takes a folder, gives the rows about checkpoints alone: coming back from host memory, and from the disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.engines import Place
from benchmarks.figures import Row, ratio_row
from sdxl_gateway.catalog.model_files import COMPONENTS, VAE, weight_files
from sdxl_gateway.config import Checkpoint, Engine, Memory, Settings
from sdxl_gateway.engine.device import finish_steps
from sdxl_gateway.engine.load import open_pool
from sdxl_gateway.engine.models.loaders import CHECKPOINT
from sdxl_gateway.engine.models.pool import ModelPool

NAMES = ("one", "other")
ROOM_BYTES = 2**20
"""Beside the checkpoint that is there: the other one never fits."""


def checkpoint_rows(title: str, folder: Path, data: Path, place: Place, repeats: int) -> Iterator[Row]:
    """Two checkpoints take turns where one has room; `folder` holds the weights of both."""
    with _pool(folder, data, place, host_bytes=2**40) as pool:
        for name in reversed(NAMES):
            pool.get(CHECKPOINT, name)
        switches, copies = [], []
        for turn in range(repeats):
            copies.append(_copy_seconds(pool, NAMES[turn % 2]))
            switches.append(_seconds_to_get(pool, NAMES[1 - turn % 2]))
    yield ratio_row(f"{title}: another checkpoint from host memory / copying its weights", None, switches, copies)
    with _pool(folder, data, place, host_bytes=0) as pool:
        loads, readings = [], []
        for turn in range(repeats):
            readings.append(_reading_seconds(folder))
            loads.append(_seconds_to_get(pool, NAMES[1 - turn % 2]))
    yield ratio_row(f"{title}: another checkpoint from disk / reading its files", None, loads, readings)


@contextmanager
def _pool(folder: Path, data: Path, place: Place, *, host_bytes: int) -> Iterator[ModelPool]:
    settings = Settings(
        data_directory=data,
        checkpoints={name: Checkpoint(path=str(folder)) for name in NAMES},
        engine=Engine.model_validate(asdict(place) | {"load_wait_seconds": 3600.0}),
        memory=Memory(vram_budget_bytes=ROOM_BYTES, host_budget_bytes=host_bytes),
    )
    pool = open_pool(settings.engine_process(), torch.device(place.device), lambda _: None)
    try:
        yield pool
    finally:
        pool.close()


def _seconds_to_get(pool: ModelPool, name: str) -> float:
    start = time.perf_counter()
    pool.get(CHECKPOINT, name)
    finish_steps(pool.device)
    return time.perf_counter() - start


def _copy_seconds(pool: ModelPool, name: str) -> float:
    """Every weight of the checkpoint on the device, copied once more as it is."""
    checkpoint = pool.checkpoint(name).checkpoint
    modules = (*checkpoint.blendable().values(), checkpoint.vae)
    weights = [tensor.to("cpu") for module in modules for tensor in (*module.parameters(), *module.buffers())]
    start = time.perf_counter()
    copies = [tensor.to(pool.device, copy=True) for tensor in weights]
    finish_steps(pool.device)
    seconds = time.perf_counter() - start
    del copies
    return seconds


def _reading_seconds(folder: Path) -> float:
    """As the system has them in memory."""
    start = time.perf_counter()
    for component in (*COMPONENTS, VAE):
        for path in weight_files(folder / component):
            path.read_bytes()
    return time.perf_counter() - start
