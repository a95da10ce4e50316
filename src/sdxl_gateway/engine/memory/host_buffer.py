"""Takes a number of bytes, gives that much host memory, for a CUDA device in page-locked pieces of one size.

torch rounds page-locked memory up to a power of two and keeps what was let go of for whoever asks for as much again,
for ever. Pieces that are such a power, and all alike, waste nothing and serve everybody: no more is ever locked than
was held at once, and once that much was, nobody waits for the driver again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

PIECE_BYTES = 16 * 2**20


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
        piece_bytes = min(PIECE_BYTES, 1 << max(size_bytes - 1, 0).bit_length())
        count = -(-size_bytes // piece_bytes)
        return cls(tuple(page_locked(piece_bytes) for _ in range(count)), piece_bytes, size_bytes)

    @property
    def held_bytes(self) -> int:
        """What it takes of the host's memory."""
        return sum(len(piece) for piece in self.pieces)

    def between(self, start: int, end: int) -> Iterator[Tensor]:
        """The bytes from `start` to `end` in order, cut where a piece ends."""
        while start < end:
            number, at = divmod(start, self.piece_bytes)
            length = min(end - start, self.piece_bytes - at)
            yield self.pieces[number][at : at + length]
            start += length

    def copy_to(self, target: Tensor) -> None:
        """All of it into (size_bytes,) uint8 on any device, which need not wait for it."""
        at = 0
        for piece in self.between(0, self.size_bytes):
            target[at : at + len(piece)].copy_(piece, non_blocking=True)
            at += len(piece)


def page_locked(size_bytes: int) -> Tensor:
    """(size_bytes,) uint8 that a CUDA device can copy from by itself; torch takes it from what was let go of before."""
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)
