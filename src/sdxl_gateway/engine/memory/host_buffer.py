"""Takes a number of bytes, gives that much host memory, for a CUDA device in page-locked pieces of one size.

torch rounds page-locked memory up to a power of two and keeps what was let go of for whoever asks for as much again,
for ever. Pieces that are such a power, and all alike, waste nothing and serve everybody: no more is ever locked than
was held at once, and once that much was, nobody waits for the driver again.
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
    """`size_bytes` counted from 0 through `pieces`, which are (piece_bytes,) uint8 each; what they hold is anything."""

    pieces: tuple[Tensor, ...]
    piece_bytes: int
    size_bytes: int

    @classmethod
    def of(cls, size_bytes: int, *, pinned: bool) -> Self:
        """`pinned`: page-locked, so that a CUDA device can copy from it by itself; else in one piece."""
        if not pinned:
            return cls((torch.empty(size_bytes, dtype=torch.uint8),), max(size_bytes, 1), size_bytes)
        piece_bytes, count = _cut(size_bytes)
        ready = locked.stock.take(count) if piece_bytes == locked.PIECE_BYTES else []
        more = (locked.page_locked(piece_bytes) for _ in range(count - len(ready)))
        return cls((*ready, *more), piece_bytes, size_bytes)

    @staticmethod
    def cost_bytes(size_bytes: int, *, pinned: bool) -> int:
        """What one of that size takes of the host's memory."""
        return prod(_cut(size_bytes)) if pinned else size_bytes

    def between(self, start: int, end: int) -> Iterator[Tensor]:
        """The bytes from `start` to `end` in order, cut where a piece ends."""
        while start < end:
            number, at = divmod(start, self.piece_bytes)
            length = min(end - start, self.piece_bytes - at)
            yield self.pieces[number][at : at + length]
            start += length

    def fetch(self, start: int, target: Tensor) -> None:
        """Fill `target`, (bytes,) uint8 on any device, with what lies from `start` on; it need not wait for it."""
        # MPS would read from the host's memory when it comes to it, whatever that is by then.
        non_blocking, at = target.device.type != "mps", 0
        for piece in self.between(start, start + len(target)):
            target[at : at + len(piece)].copy_(piece, non_blocking=non_blocking)
            at += len(piece)

    def keep(self, start: int, source: Tensor) -> None:
        """Have `source`, (bytes,) uint8 on any device, lie from `start` on; it may be written to afterwards."""
        at = 0
        for piece in self.between(start, start + len(source)):
            piece.copy_(source[at : at + len(piece)])
            at += len(piece)


def _cut(size_bytes: int) -> tuple[int, int]:
    """The size of a piece and how many of them it takes."""
    piece_bytes = min(locked.PIECE_BYTES, 1 << max(size_bytes - 1, 0).bit_length())
    return piece_bytes, -(-size_bytes // piece_bytes)
