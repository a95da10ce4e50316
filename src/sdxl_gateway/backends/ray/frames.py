"""Encodes messages as bytes, and back: Ray carries bytes as they are, and pickles everything else."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sdxl_gateway.ipc.channel import MAX_MEMORY_BYTES, MAX_TEXT_BYTES, FrameTooLarge
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Message, decode, encode

_COUNT = struct.Struct(">I")
_LENGTH = struct.Struct(">Q")


def pack(message: Message) -> bytes:
    """The message's JSON text and the pixels it refers to: number of parts, their lengths, the parts. Can be joined.

    Raises FrameTooLarge above the same limits as between processes of one machine.
    """
    text, blobs = encode(message)
    total = sum(map(len, blobs))
    if len(text) > MAX_TEXT_BYTES or total > MAX_MEMORY_BYTES:
        raise FrameTooLarge(f"{type(message).__name__} of {len(text)} bytes of text and {total} of pixels")
    parts = text, *blobs
    return b"".join([_COUNT.pack(len(parts)), *(_LENGTH.pack(len(part)) for part in parts), *parts])


def unpack(joined: object) -> Iterator[Message]:
    """The messages that were given to `pack`. Raises Malformed for anything else."""
    if type(joined) is not bytes:
        raise Malformed("not bytes")
    left = memoryview(joined)
    while left:
        parts, left = _parts(left)
        text, *blobs = map(bytes, parts)
        yield decode(text, blobs)


def _parts(left: memoryview) -> tuple[list[memoryview], memoryview]:
    """The parts of the first message, and the bytes after it."""
    try:
        (count,) = _COUNT.unpack_from(left)
        end = _COUNT.size + count * _LENGTH.size
        lengths = [length for (length,) in _LENGTH.iter_unpack(left[_COUNT.size : end])]
    except struct.error as problem:
        raise Malformed("cut short") from problem
    if not lengths or len(lengths) < count or sum(lengths) > len(left) - end:
        raise Malformed("cut short")
    parts = []
    for length in lengths:
        parts.append(left[end : end + length])
        end += length
    return parts, left[end:]
