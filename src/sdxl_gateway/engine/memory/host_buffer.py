"""Takes a number of bytes, gives that much host memory, for a CUDA device in page-locked pieces of one size.

torch rounds page-locked allocations up to a power of two and caches freed ones forever, for requests of the same size.
Pieces of one such size waste nothing and can all be reused: the total never exceeds the most held at once, and once
that much is locked, no allocation waits for the driver again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Self

import torch
from torch import Tensor

from sdxl_gateway.engine.memory import page_locked as locked


@dataclass(frozen=True, slots=True)
class HostBuffer:
    """`size_bytes` of uninitialised memory, addressed from 0 across `pieces`, each (piece_bytes,) uint8."""

    pieces: tuple[Tensor, ...]
    piece_bytes: int
    size_bytes: int

    @classmethod
    def of(cls, size_bytes: int, *, pinned: bool) -> Self:
        """If `pinned`, page-locked, so that a CUDA device can copy from it asynchronously; else in one piece."""
        if not pinned:
            return cls((torch.empty(size_bytes, dtype=torch.uint8),), max(size_bytes, 1), size_bytes)
        piece_bytes, count = _cut(size_bytes)
        ready = locked.stock.take(count) if piece_bytes == locked.PIECE_BYTES else []
        more = (locked.page_locked(piece_bytes) for _ in range(count - len(ready)))
        return cls((*ready, *more), piece_bytes, size_bytes)

    @staticmethod
    def cost_bytes(size_bytes: int, *, pinned: bool) -> int:
        """The host memory that a buffer of `size_bytes` takes."""
        return prod(_cut(size_bytes)) if pinned else size_bytes

    def between(self, start: int, end: int) -> Iterator[Tensor]:
        """The bytes from `start` to `end` in order, split at the ends of pieces."""
        while start < end:
            number, at = divmod(start, self.piece_bytes)
            length = min(end - start, self.piece_bytes - at)
            yield self.pieces[number][at : at + length]
            start += length

    def fetch(self, start: int, target: Tensor) -> None:
        """Copy the bytes from `start` on into `target`, (bytes,) uint8 on any device; on CUDA asynchronously."""
        # MPS would read the host's memory later, when it may hold something else.
        non_blocking, at = target.device.type != "mps", 0
        for piece in self.between(start, start + len(target)):
            target[at : at + len(piece)].copy_(piece, non_blocking=non_blocking)
            at += len(piece)

    def keep(self, start: int, source: Tensor) -> None:
        """Copy `source`, (bytes,) uint8 on any device, to `start`; it may be overwritten afterwards."""
        at = 0
        for piece in self.between(start, start + len(source)):
            piece.copy_(source[at : at + len(piece)])
            at += len(piece)


def _cut(size_bytes: int) -> tuple[int, int]:
    """The size of a piece and how many are needed."""
    piece_bytes = min(locked.PIECE_BYTES, 1 << max(size_bytes - 1, 0).bit_length())
    return piece_bytes, -(-size_bytes // piece_bytes)
