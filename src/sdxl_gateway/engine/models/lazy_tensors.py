"""Takes a safetensors file, gives a mapping that reads a tensor when it is asked for, in the format it is wanted in.

A tensor is read into memory of its own and turned into its format at once, so a file of several gigabytes never lies
in memory beside the model that is made of it, and nothing changes when the file does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sdxl_gateway.catalog.model_files import headers_of
from sdxl_gateway.catalog.safetensors_header import TensorInfo
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.lora.formats import FILE_DTYPES


def tensors_of(path: Path, dtype: torch.dtype) -> LazyTensors:
    """All of a file's, as they are asked for. Raises CheckpointProblem for a file that is none."""
    (header,) = headers_of([path])
    return LazyTensors(path, header.data_start, header.tensors, dtype)


class LazyTensors(Mapping[str, Tensor]):
    """`places` of the file `path`, whose data begins `data_start` bytes into it."""

    def __init__(self, path: Path, data_start: int, places: Mapping[str, TensorInfo], dtype: torch.dtype) -> None:
        self._path = path
        self._data_start = data_start
        self._places = places
        self._dtype = dtype

    def __getitem__(self, name: str) -> Tensor:
        """Raises CheckpointProblem where the file is not what its header said."""
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
        try:
            with self._path.open("rb") as file:
                file.seek(self._data_start + place.start)
                read = file.readinto(data.numpy().data)
        except OSError as error:
            raise CheckpointProblem(f"'{self._path.name}' cannot be read.") from error
        if read != len(data):
            raise CheckpointProblem(f"'{self._path.name}' was cut short while it was read.")
        return data
