"""Takes places in a safetensors file, gives the tensors there on a CUDA device, read into it straight.

Threads read into a few page-locked pieces, and each is copied to the device as it is stored while others are filled.
Tensors take their format there: the host converts nothing, and holds the pieces alone, however large the file is.
Nothing is mapped, so a file that is cut short meanwhile is a problem that is told, not the end of the process.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from sdxl_gateway.catalog.safetensors_header import TensorInfo
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.lora.formats import FILE_DTYPES
from sdxl_gateway.engine.memory import page_locked
from sdxl_gateway.engine.memory.host_buffer import HostBuffer

READERS = 4
"""Threads: one alone reads slower than a device is copied to, from the system's memory as from a fast disk."""
PIECES = READERS + 2
"""One that is copied, and one for the first reader that is done."""


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """The file, to be read in this context. Raises CheckpointProblem where that cannot be done."""
    try:
        with FileIO(path) as file:
            yield file
    except OSError as error:
        raise CheckpointProblem(f"'{path.name}' cannot be read.") from error


def read_into(memory: Tensor, file: FileIO, at: int) -> None:
    """Fill `memory`, (bytes,) uint8, with what lies `at` so many bytes into the file; from any thread.

    Raises CheckpointProblem where it ends before, and OSError.
    """
    view = memory.numpy().data
    while view:
        count = os.preadv(file.fileno(), [view], at)
        if count == 0:
            raise CheckpointProblem(f"'{Path(os.fsdecode(file.name)).name}' was cut short while it was read.")
        view, at = view[count:], at + count


def arrived(
    path: Path, data_start: int, places: Mapping[str, TensorInfo], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """The tensors at `places` as they are now, but for those of whole numbers; memory of the caller's stream.

    Raises CheckpointProblem where the file is not what its header said.
    """
    places = {name: place for name, place in places.items() if place.dtype in FILE_DTYPES}
    tensors = {name: torch.empty(place.shape, dtype=dtype, device=device) for name, place in places.items()}
    size_bytes = sum(place.end - place.start for place in places.values())
    memory = HostBuffer.of(min(size_bytes, PIECES * page_locked.PIECE_BYTES), pinned=True)
    stretches = _stretches(data_start, places, tensors, memory.piece_bytes)
    with opened(path) as file, ThreadPoolExecutor(READERS, "weights-reader") as readers:
        _carry(file, stretches, memory.pieces, readers, torch.cuda.current_stream(device))
    return tensors


@dataclass(slots=True)
class _Stretch:
    """The bytes of a file from `start` to `end`; `parts` are flat parts of tensors, where they go, and their formats.

    The formats are those of the file.
    """

    start: int
    end: int
    parts: list[tuple[Tensor, torch.dtype]]

    def takes(self, at: int, stored: torch.dtype, most_bytes: int) -> bool:
        """Numbers may follow that lie `at` there in the file: torch has them begin at multiples of their size."""
        return at == self.end < self.start + most_bytes and (at - self.start) % stored.itemsize == 0

    def land(self, piece: Tensor) -> None:
        """Have the device copy what was read into `piece`, and round there."""
        at = 0
        for target, stored in self.parts:
            end = at + len(target) * stored.itemsize
            numbers = piece[at:end].view(stored)
            if stored is not target.dtype:
                numbers = numbers.to(target.device, non_blocking=True)
            target.copy_(numbers, non_blocking=True)
            at = end


def _stretches(
    data_start: int, places: Mapping[str, TensorInfo], tensors: Mapping[str, Tensor], most_bytes: int
) -> Iterator[_Stretch]:
    """All there is to read, in the file's order, each at most so many bytes."""
    begin = data_start + min((place.start for place in places.values()), default=0)
    stretch = _Stretch(begin, begin, [])
    for name, place in sorted(places.items(), key=lambda item: item[1].start):
        stored, rest = FILE_DTYPES[place.dtype], tensors[name].view(-1)
        at, end = data_start + place.start, data_start + place.end
        while at < end:
            if not stretch.takes(at, stored, most_bytes):
                yield stretch
                stretch = _Stretch(at, at, [])
            stretch.end = min(end, stretch.start + most_bytes)
            count = (stretch.end - at) // stored.itemsize
            stretch.parts.append((rest[:count], stored))
            at, rest = stretch.end, rest[count:]
    yield stretch


def _carry(
    file: FileIO,
    stretches: Iterator[_Stretch],
    pieces: Sequence[Tensor],
    readers: ThreadPoolExecutor,
    stream: torch.cuda.Stream,
) -> None:
    """Pieces are filled side by side, and land in turn."""
    coming: deque[tuple[Future[None], _Stretch, Tensor]] = deque()
    for stretch, piece in zip(stretches, cycle(pieces), strict=False):
        if len(coming) == len(pieces):
            _land(*coming.popleft(), stream)
        into = piece[: stretch.end - stretch.start]
        coming.append((readers.submit(read_into, into, file, stretch.start), stretch, piece))
    while coming:
        _land(*coming.popleft(), stream)


def _land(filled: Future[None], stretch: _Stretch, piece: Tensor, stream: torch.cuda.Stream) -> None:
    """The piece may be filled anew afterwards."""
    filled.result()
    stretch.land(piece)
    stream.synchronize()
