"""Takes a text's tokens, gives the chunks a text encoder reads each for itself, parted after commas as A1111 does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

REACH = 20
"""A comma so near to the end of a full chunk is where it is parted, so that few phrases are torn."""


class Token(NamedTuple):
    """Its id, and how much it counts."""

    id: int
    weight: float = 1.0


Piece = tuple[Token, ...]
"""One token, or those of a learnt word, which stay together."""
Chunk = list[Token]


def parted(parts: Sequence[Iterable[Piece]], *, length: int, comma: int, most: int) -> tuple[list[Chunk], list[Token]]:
    """At most `most` chunks of up to `length` tokens, at least one, and the tokens that nobody reads.

    Each of `parts` begins a chunk; nothing after the last of several begins none. A single chunk is cut where it is
    full, as diffusers does.
    """
    chunks = [chunk for part in parts for chunk in _chunks(part, length, comma if most > 1 else None)]
    if len(parts) > 1 and not chunks[-1]:
        chunks.pop()
    return chunks[:most], [*chain.from_iterable(chunks[most:])]


def _chunks(pieces: Iterable[Piece], length: int, comma: int | None) -> list[Chunk]:
    """Without a comma nothing stays together either."""
    if comma is None:
        tokens = [*chain.from_iterable(pieces)]
        return [tokens[start : start + length] for start in range(0, len(tokens) or 1, length)]
    full: list[Chunk] = []
    chunk: Chunk = []
    after_comma = 0
    for piece in _fitting(pieces, length):
        is_comma = piece[0].id == comma
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
