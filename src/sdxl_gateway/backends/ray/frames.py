"""Takes messages, gives lists of bytes, and back: no object of ours or of others crosses a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_gateway.ipc.channel import MAX_MEMORY_BYTES, MAX_TEXT_BYTES, FrameTooLarge
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Message, decode, encode

Frame = list[bytes]
"""A message's text as JSON, then the pixels it refers to."""


def pack(message: Message) -> Frame:
    """Raises FrameTooLarge, at the bounds there are between processes of one machine."""
    text, blobs = encode(message)
    total = sum(map(len, blobs))
    if len(text) > MAX_TEXT_BYTES or total > MAX_MEMORY_BYTES:
        raise FrameTooLarge(f"{type(message).__name__} of {len(text)} bytes of text and {total} of pixels")
    return [text, *blobs]


def unpack(frame: Sequence[object]) -> Message:
    """The message `pack` was given. Raises Malformed for anything else."""
    parts = [part for part in frame if type(part) is bytes]
    if not parts or len(parts) < len(frame):
        raise Malformed("not bytes alone")
    return decode(parts[0], parts[1:])
