"""Takes a text's token ids, gives the chunks an encoder reads each for itself, parted after commas as A1111 does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

REACH = 20
"""A comma so near to the end of a full chunk is where it is parted, so that few phrases are torn."""

Piece = tuple[int, ...]
"""The ids of one token, or of a learnt word, which stay together."""


def parted(pieces: Sequence[Piece], *, length: int, comma: int, most: int) -> tuple[list[list[int]], list[int]]:
    """At most `most` chunks of up to `length` ids, at least one, and the ids that nobody reads.

    A single chunk is cut where it is full, as diffusers does.
    """
    if most == 1:
        ids = [*chain.from_iterable(pieces)]
        return [ids[:length]], ids[length:]
    chunks = _chunks(pieces, length, comma)
    return chunks[:most], [*chain.from_iterable(chunks[most:])]


def _chunks(pieces: Iterable[Piece], length: int, comma: int) -> list[list[int]]:
    full: list[list[int]] = []
    chunk: list[int] = []
    after_comma = 0
    for piece in _fitting(pieces, length):
        is_comma = piece == (comma,)
        if len(chunk) == length and not is_comma and length - after_comma < REACH:
            full.append(chunk[:after_comma])
            chunk, after_comma = chunk[after_comma:], 0
        if len(chunk) + len(piece) > length:
            full.append(chunk)
            chunk, after_comma = [], 0
        chunk += piece
        after_comma = len(chunk) if is_comma else after_comma
    return [*full, chunk]


def _fitting(pieces: Iterable[Piece], length: int) -> Iterator[Piece]:
    """A word of more vectors than a chunk holds is torn after all."""
    for piece in pieces:
        for start in range(0, len(piece), length):
            yield piece[start : start + length]
