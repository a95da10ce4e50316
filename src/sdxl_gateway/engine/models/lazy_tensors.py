"""Takes a safetensors file, gives a mapping that reads each tensor on access, in the requested dtype.

A tensor is read into new memory and converted at once, so a file of several gigabytes is never in memory beside the
model made from it, and the model does not change when the file does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sdxl_gateway.catalog.model_files import headers_of
from sdxl_gateway.catalog.safetensors_header import TensorInfo
from sdxl_gateway.engine.device import CPU
from sdxl_gateway.engine.lora.formats import FILE_DTYPES
from sdxl_gateway.engine.models.arrival import opened, read_into, read_to_device


def tensors_of(path: Path, dtype: torch.dtype, device: torch.device = CPU) -> Mapping[str, Tensor]:
    """All tensors of a file. Raises CheckpointProblem for a file that is not safetensors."""
    (header,) = headers_of([path])
    return tensors_at(path, header.data_start, header.tensors, dtype, device)


def tensors_at(
    path: Path, data_start: int, places: Mapping[str, TensorInfo], dtype: torch.dtype, device: torch.device
) -> Mapping[str, Tensor]:
    """The tensors at `places` from `data_start` on: on a CUDA device read now, else in host memory, read on access."""
    if device.type == "cuda":
        return read_to_device(path, data_start, places, dtype, device)
    return LazyTensors(path, data_start, places, dtype)


class LazyTensors(Mapping[str, Tensor]):
    """`places` of the file `path`, whose data begins `data_start` bytes into it."""

    def __init__(self, path: Path, data_start: int, places: Mapping[str, TensorInfo], dtype: torch.dtype) -> None:
        self._path = path
        self._data_start = data_start
        self._places = places
        self._dtype = dtype

    def __getitem__(self, name: str) -> Tensor:
        """Raises CheckpointProblem if the file does not match its header."""
        place = self._places[name]
        if place.start == place.end:
            return torch.empty(place.shape, dtype=self._dtype)
        values = self._read(place).view(FILE_DTYPES[place.dtype])
        return values.reshape(place.shape).to(self._dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        """Without reading it."""
        return name in self._places

    def _read(self, place: TensorInfo) -> Tensor:
        data = torch.empty(place.end - place.start, dtype=torch.uint8)
        with opened(self._path) as file:
            read_into(data, file, self._data_start + place.start)
        return data
