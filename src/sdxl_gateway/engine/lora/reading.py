"""Takes the layout of an adapter file, gives its factors in host memory: read once, straight to where they stay."""

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
PLACES_A_CALL = 1024
"""What systems take in one call to `readv`."""


@dataclass(frozen=True, slots=True)
class Factors:
    """An adapter file as it lies in host memory: the bytes `layout` tells of, every number finite."""

    layout: Layout
    memory: HostBuffer
    alpha_values: Mapping[str, float]

    @property
    def digest(self) -> str:
        """The file's."""
        return self.layout.file.digest

    @property
    def size_bytes(self) -> int:
        """What they take on a device."""
        return self.layout.size_bytes

    def on(self, device: torch.device) -> Adapter:
        """As an adapter there, its memory that of the caller's stream; on a CPU it may be this very memory.

        Nothing waits: on CUDA the adapter is there once the stream has come to its `arrived`. Raises AdapterRefused for
        tensors that do not fit each other.
        """
        if len(self.memory.pieces) == 1 and self.memory.pieces[0].device == device:
            return adapter_of(self.layout, self.memory.pieces[0][: self.size_bytes], self.alpha_values)
        buffer = torch.empty(self.size_bytes, dtype=torch.uint8, device=device)
        arrived = filled_beside(buffer, partial(self.memory.fetch, 0))
        return adapter_of(self.layout, buffer, self.alpha_values, arrived)

    def refuse_misfits(self) -> None:
        """Raises AdapterRefused as `on` does, without a copy."""
        adapter_of(self.layout, torch.empty(self.size_bytes, dtype=torch.uint8, device="meta"), self.alpha_values)


def read_factors(layout: Layout, *, pinned: bool) -> Factors:
    """The factors in host memory, page-locked when `pinned`.

    Raises AdapterRefused for a file that is gone, cut short or not finite.
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
    return Factors(layout, memory, _numbers(layout, raw))


@dataclass(slots=True)
class _Stretch:
    """Bytes that lie side by side in the file, from `file_start` behind its header, and go side by side too."""

    file_start: int
    into: HostBuffer
    start: int
    end: int

    @property
    def file_end(self) -> int:
        return self.file_start + self.end - self.start


def _stretches(layout: Layout, memory: HostBuffer, aside: HostBuffer) -> list[_Stretch]:
    """Where each byte that is wanted goes, in the file's order."""
    found: list[_Stretch] = []
    for slot in sorted((*layout.slots.values(), *layout.alphas.values()), key=lambda slot: slot.place.start):
        into, start = (memory, slot.offset_bytes) if slot.aside_offset is None else (aside, slot.aside_offset)
        end = start + slot.place.end - slot.place.start
        last = found[-1] if found else None
        if last and last.into is into and (last.file_end, last.end) == (slot.place.start, start):
            last.end = end
        else:
            found.append(_Stretch(slot.place.start, into, start, end))
    return found


def _read(file: FileIO, stretches: Iterable[_Stretch]) -> None:
    """In as few calls as there are gaps between them in the file."""
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
        count = os.readv(file.fileno(), views[done : done + PLACES_A_CALL])
        if count == 0:
            raise AdapterRefused("The LoRA file is cut short.")
        while done < len(views) and count >= len(views[done]):
            count -= len(views[done])
            done += 1
        if count:
            views[done] = views[done][count:]


def _convert(layout: Layout, raw: Tensor, memory: HostBuffer) -> None:
    """Numbers in formats that are not kept."""
    for slot in layout.slots.values():
        if slot.aside_offset is not None:
            at = slot.aside_offset
            numbers = raw[at : at + slot.place.end - slot.place.start].view(slot.file_dtype)
            for piece in memory.between(slot.offset_bytes, slot.end_bytes):
                kept = piece.view(slot.kept_dtype)
                kept.copy_(numbers[: len(kept)])
                numbers = numbers[len(kept) :]


def _numbers(layout: Layout, raw: Tensor) -> dict[str, float]:
    """The alphas."""
    cells = raw[: CELL_BYTES * len(layout.alphas)]
    found: dict[str, float] = {}
    for dtype in {slot.file_dtype for slot in layout.alphas.values()}:
        values = cells.view(dtype)[:: CELL_BYTES // dtype.itemsize].double().tolist()
        pairs = zip(layout.alphas.items(), values, strict=True)
        found |= {key: value for (key, slot), value in pairs if slot.file_dtype is dtype}
    for key, value in found.items():
        if not isfinite(value):
            raise not_one_number(key)
    return found


def _refuse_infinite(layout: Layout, memory: HostBuffer) -> None:
    if all(all_finite(piece, dtype) for start, end, dtype in layout.runs() for piece in memory.between(start, end)):
        return
    for key, slot in layout.slots.items():
        if not all(all_finite(piece, slot.kept_dtype) for piece in memory.between(slot.offset_bytes, slot.end_bytes)):
            raise AdapterRefused(f"The LoRA file's tensor '{key[:100]}' holds values that are not finite.")
