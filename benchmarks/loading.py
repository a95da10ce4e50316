"""Takes a folder, gives the rows about its weights on their way to the device: straight, and through host memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.engines import Place, Stopwatch
from benchmarks.figures import Row, ratio_row, seconds_row
from sdxl_gateway.catalog.model_files import UNET, headers_of, weight_files
from sdxl_gateway.engine.device import CPU
from sdxl_gateway.engine.models.checkpoint import Source, load_checkpoint
from sdxl_gateway.engine.models.lazy_tensors import tensors_of
from sdxl_gateway.engine.models.placement import Placement


class _ThroughTheHost(Placement):
    """As libraries build models, which are copied to the device afterwards."""

    def load_device(self, component: str) -> torch.device:
        return CPU


def loading_rows(folder: Path, place: Place, repeats: int) -> Iterator[Row]:
    """In turn, of files that the system has in memory: the first of each is left out. On a CPU both are the same."""
    device, dtype = torch.device(place.device), getattr(torch, place.dtype)
    straight, through, unet = [], [], []
    for _ in range(repeats + 1):
        through.append(_seconds_to_load(folder, _ThroughTheHost.everything_on(device), dtype))
        straight.append(_seconds_to_load(folder, Placement.everything_on(device), dtype))
        unet.append(_seconds_of_bytes(folder / UNET, dtype, device))
    name = "a checkpoint's models, read straight onto the device / through host memory"
    yield ratio_row(name, None, straight[1:], through[1:])
    gigabytes = sum(header.data_bytes for header in headers_of(weight_files(folder / UNET))) / 1e9
    yield seconds_row(f"of these: the UNet's {gigabytes:.3g} GB alone, without a model, seconds", None, unet[1:])


def _seconds_to_load(folder: Path, placement: Placement, dtype: torch.dtype) -> float:
    watch = Stopwatch(placement.device)
    load_checkpoint(Source("one", folder), placement, dtype)
    return watch.seconds()


def _seconds_of_bytes(folder: Path, dtype: torch.dtype, device: torch.device) -> float:
    watch = Stopwatch(device)
    for path in weight_files(folder):
        dict(tensors_of(path, dtype, device))
    return watch.seconds()
