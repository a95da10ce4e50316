"""Takes a text's tokens, gives chunks that a text encoder reads separately, split after commas as A1111 does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

REACH = 20
"""A full chunk is split after its last comma if that is within so many tokens of its end, to keep phrases whole."""


class Token(NamedTuple):
    """A token's id and weight."""

    id: int
    weight: float = 1.0


Piece = tuple[Token, ...]
"""One token, or all those of a textual inversion's word, which stay in one chunk."""
Chunk = list[Token]


def parted(parts: Sequence[Iterable[Piece]], *, length: int, comma: int, most: int) -> tuple[list[Chunk], list[Token]]:
    """At least one chunk and at most `most`, of up to `length` tokens, and the tokens truncated.

    Each of `parts` begins a new chunk, but an empty last one. With `most` 1 the text is truncated where the chunk is
    full, as diffusers does.
    """
    chunks = [chunk for part in parts for chunk in _chunks(part, length, comma if most > 1 else None)]
    if len(parts) > 1 and not chunks[-1]:
        chunks.pop()
    return chunks[:most], [*chain.from_iterable(chunks[most:])]


def _chunks(pieces: Iterable[Piece], length: int, comma: int | None) -> list[Chunk]:
    """Chunks of one part; without a `comma` token, they are simply of equal length."""
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
    """The pieces, those longer than a chunk split."""
    for piece in pieces:
        for start in range(0, len(piece), length):
            yield piece[start : start + length]
