"""Takes positions of tensors in a safetensors file, reads the tensors directly to a CUDA device.

Threads read into a few page-locked pieces, each of which is copied to the device while others are filled. Dtypes are
converted on the device: the host converts nothing, and holds only the pieces, however large the file is. The file is
not mapped, so truncating it meanwhile raises an error rather than killing the process.
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
"""Threads; a single one reads slower than copies to a device run, both from the page cache and from a fast disk."""
PIECES = READERS + 2
"""One for each reader, one being copied, and one ready for the first reader that is done."""


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """The file, open inside this context. Raises CheckpointProblem for errors of opening or reading it."""
    try:
        with FileIO(path) as file:
            yield file
    except OSError as error:
        raise CheckpointProblem(f"'{path.name}' cannot be read.") from error


def read_into(memory: Tensor, file: FileIO, at: int) -> None:
    """Fill `memory`, (bytes,) uint8, from the offset `at` of the file; from any thread.

    Raises CheckpointProblem if the file is too short, and OSError.
    """
    view = memory.numpy().data
    while view:
        count = os.preadv(file.fileno(), [view], at)
        if count == 0:
            raise CheckpointProblem(f"'{Path(os.fsdecode(file.name)).name}' was truncated while it was read.")
        view, at = view[count:], at + count


def read_to_device(
    path: Path, data_start: int, places: Mapping[str, TensorInfo], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """The floating-point tensors at `places`, as the file is now, in memory of the caller's stream.

    Raises CheckpointProblem if the file does not match its header.
    """
    places = {name: place for name, place in places.items() if place.dtype in FILE_DTYPES}
    tensors = {name: torch.empty(place.shape, dtype=dtype, device=device) for name, place in places.items()}
    size_bytes = sum(place.end - place.start for place in places.values())
    memory = HostBuffer.of(min(size_bytes, PIECES * page_locked.PIECE_BYTES), pinned=True)
    stretches = _stretches(data_start, places, tensors, memory.piece_bytes)
    with opened(path) as file, ThreadPoolExecutor(READERS, "weights-reader") as readers:
        _transfer(file, stretches, memory.pieces, readers, torch.cuda.current_stream(device))
    return tensors


@dataclass(slots=True)
class _Stretch:
    """The bytes of a file from `start` to `end`; `parts` are the flat parts of tensors to copy them to, in order, each
    with its dtype in the file.
    """

    start: int
    end: int
    parts: list[tuple[Tensor, torch.dtype]]

    def accepts(self, at: int, stored: torch.dtype, most_bytes: int) -> bool:
        """Numbers at offset `at` of the file may be appended: contiguous, and aligned to their size, as torch needs."""
        return at == self.end < self.start + most_bytes and (at - self.start) % stored.itemsize == 0

    def copy_to_device(self, piece: Tensor) -> None:
        """Issue the copies of what was read into `piece`; dtypes are converted on the device."""
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
    """All bytes to read, in the file's order, in stretches of at most `most_bytes`."""
    begin = data_start + min((place.start for place in places.values()), default=0)
    stretch = _Stretch(begin, begin, [])
    for name, place in sorted(places.items(), key=lambda item: item[1].start):
        stored, rest = FILE_DTYPES[place.dtype], tensors[name].view(-1)
        at, end = data_start + place.start, data_start + place.end
        while at < end:
            if not stretch.accepts(at, stored, most_bytes):
                yield stretch
                stretch = _Stretch(at, at, [])
            stretch.end = min(end, stretch.start + most_bytes)
            count = (stretch.end - at) // stored.itemsize
            stretch.parts.append((rest[:count], stored))
            at, rest = stretch.end, rest[count:]
    yield stretch


def _transfer(
    file: FileIO,
    stretches: Iterator[_Stretch],
    pieces: Sequence[Tensor],
    readers: ThreadPoolExecutor,
    stream: torch.cuda.Stream,
) -> None:
    """Pieces are filled concurrently, and copied in the file's order."""
    pending: deque[tuple[Future[None], _Stretch, Tensor]] = deque()
    for stretch, piece in zip(stretches, cycle(pieces), strict=False):
        if len(pending) == len(pieces):
            _copy(*pending.popleft(), stream)
        into = piece[: stretch.end - stretch.start]
        pending.append((readers.submit(read_into, into, file, stretch.start), stretch, piece))
    while pending:
        _copy(*pending.popleft(), stream)


def _copy(filled: Future[None], stretch: _Stretch, piece: Tensor, stream: torch.cuda.Stream) -> None:
    """Waits for the read and for the copy; then the piece can be used again."""
    filled.result()
    stretch.copy_to_device(piece)
    stream.synchronize()
