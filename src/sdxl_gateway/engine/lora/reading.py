"""Takes the layout of an adapter file, reads its factors into host memory, directly to their final positions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from io import FileIO
from math import isfinite

import torch
from torch import Tensor

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.device import filled_beside
from sdxl_gateway.engine.lora.finite import all_finite
from sdxl_gateway.engine.lora.formats import CELL_BYTES, Adapter, Layout, adapter_of, not_one_number
from sdxl_gateway.engine.memory.host_buffer import HostBuffer

LENGTH_BYTES = 8
MAX_BUFFERS = 1024
"""The most buffers that systems accept in one call of `readv` (IOV_MAX)."""


@dataclass(frozen=True, slots=True)
class Factors:
    """An adapter file's factors in host memory, laid out as `layout` says, every number finite."""

    layout: Layout
    memory: HostBuffer
    alpha_values: Mapping[str, float]

    @property
    def digest(self) -> str:
        """The file's."""
        return self.layout.file.digest

    @property
    def size_bytes(self) -> int:
        """What the factors take on a device."""
        return self.layout.size_bytes

    def on(self, device: torch.device) -> Adapter:
        """The adapter on `device`, in memory of the caller's stream; on a CPU it may share this memory.

        Does not wait: on CUDA the adapter is complete after its event `arrived`. Raises AdapterRefused for tensors that
        do not fit each other.
        """
        if len(self.memory.pieces) == 1 and self.memory.pieces[0].device == device:
            return adapter_of(self.layout, self.memory.pieces[0][: self.size_bytes], self.alpha_values)
        buffer = torch.empty(self.size_bytes, dtype=torch.uint8, device=device)
        arrived = filled_beside(buffer, partial(self.memory.fetch, 0))
        return adapter_of(self.layout, buffer, self.alpha_values, arrived)

    def refuse_misfits(self) -> None:
        """Raises AdapterRefused as `on` does, without copying."""
        adapter_of(self.layout, torch.empty(self.size_bytes, dtype=torch.uint8, device="meta"), self.alpha_values)


def read_factors(layout: Layout, *, pinned: bool) -> Factors:
    """The factors in host memory, page-locked when `pinned`.

    Raises AdapterRefused for a file that is gone, truncated or not finite.
    """
    memory = HostBuffer.of(layout.size_bytes, pinned=pinned)
    aside = HostBuffer.of(layout.aside_bytes, pinned=False)
    try:
        with FileIO(layout.file.path) as file:
            _read(file, _stretches(layout, memory, aside))
    except OSError as error:
        raise AdapterRefused("The LoRA file cannot be read.") from error
    (raw,) = aside.pieces
    _convert(layout, raw, memory)
    _refuse_infinite(layout, memory)
    return Factors(layout, memory, _alphas(layout, raw))


@dataclass(slots=True)
class _Stretch:
    """Bytes contiguous both in the file, from `file_start` after its header, and in the buffer `into`."""

    file_start: int
    into: HostBuffer
    start: int
    end: int

    @property
    def file_end(self) -> int:
        return self.file_start + self.end - self.start


def _stretches(layout: Layout, memory: HostBuffer, aside: HostBuffer) -> list[_Stretch]:
    """Where to read each needed byte to, in the file's order."""
    stretches: list[_Stretch] = []
    for slot in sorted((*layout.slots.values(), *layout.alphas.values()), key=lambda slot: slot.place.start):
        into, start = (memory, slot.offset_bytes) if slot.aside_offset is None else (aside, slot.aside_offset)
        end = start + slot.place.end - slot.place.start
        last = stretches[-1] if stretches else None
        if last and last.into is into and (last.file_end, last.end) == (slot.place.start, start):
            last.end = end
        else:
            stretches.append(_Stretch(slot.place.start, into, start, end))
    return stretches


def _read(file: FileIO, stretches: Iterable[_Stretch]) -> None:
    """With one seek for each gap between them in the file."""
    header = bytearray(LENGTH_BYTES)
    _fill(file, [memoryview(header)])
    data_start = LENGTH_BYTES + int.from_bytes(header, "little")
    views: list[memoryview] = []
    start = end = 0
    for stretch in stretches:
        if stretch.file_start != end:
            _fill_at(file, data_start + start, views)
            views, start = [], stretch.file_start
        views += (memoryview(piece.numpy().data) for piece in stretch.into.between(stretch.start, stretch.end))
        end = stretch.file_end
    _fill_at(file, data_start + start, views)


def _fill_at(file: FileIO, start: int, views: list[memoryview]) -> None:
    file.seek(start)
    _fill(file, views)


def _fill(file: FileIO, views: list[memoryview]) -> None:
    done = 0
    while done < len(views):
        count = os.readv(file.fileno(), views[done : done + MAX_BUFFERS])
        if count == 0:
            raise AdapterRefused("The LoRA file is cut short.")
        while done < len(views) and count >= len(views[done]):
            count -= len(views[done])
            done += 1
        if count:
            views[done] = views[done][count:]


def _convert(layout: Layout, raw: Tensor, memory: HostBuffer) -> None:
    """Convert the numbers of slots whose file dtype is not kept."""
    for slot in layout.slots.values():
        if slot.aside_offset is not None:
            at = slot.aside_offset
            numbers = raw[at : at + slot.place.end - slot.place.start].view(slot.file_dtype)
            for piece in memory.between(slot.offset_bytes, slot.end_bytes):
                kept = piece.view(slot.kept_dtype)
                kept.copy_(numbers[: len(kept)])
                numbers = numbers[len(kept) :]


def _alphas(layout: Layout, raw: Tensor) -> dict[str, float]:
    cells = raw[: CELL_BYTES * len(layout.alphas)]
    alphas: dict[str, float] = {}
    for dtype in {slot.file_dtype for slot in layout.alphas.values()}:
        values = cells.view(dtype)[:: CELL_BYTES // dtype.itemsize].double().tolist()
        pairs = zip(layout.alphas.items(), values, strict=True)
        alphas |= {key: value for (key, slot), value in pairs if slot.file_dtype is dtype}
    for key, value in alphas.items():
        if not isfinite(value):
            raise not_one_number(key)
    return alphas


def _refuse_infinite(layout: Layout, memory: HostBuffer) -> None:
    if all(all_finite(piece, dtype) for start, end, dtype in layout.runs() for piece in memory.between(start, end)):
        return
    for key, slot in layout.slots.items():
        if not all(all_finite(piece, slot.kept_dtype) for piece in memory.between(slot.offset_bytes, slot.end_bytes)):
            raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' holds values that are not finite.")
