"""Sends messages over a socket pair, each with an optional descriptor of shared memory, and receives them."""

from __future__ import annotations

import os
import socket
import struct
import time

from sdxl_gateway.decoding.messages import Message, decode, encode
from sdxl_gateway.ipc.codec import Malformed

MAX_TEXT_BYTES = 4 * 2**20
_LENGTH = struct.Struct(">I")
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def send(end: socket.socket, message: Message, memory: int | None = None) -> None:
    """`memory` is a descriptor, which the caller still owns afterwards. Raises OSError when the peer is gone."""
    text = encode(message)
    frame = _LENGTH.pack(len(text)) + text
    sent = 0 if memory is None else socket.send_fds(end, [frame], [memory])
    end.sendall(frame[sent:])


def receive(end: socket.socket, seconds: float | None = None) -> tuple[Message, int | None]:
    """The next message, and the descriptor sent along, which the caller then owns.

    Raises TimeoutError when it is incomplete after `seconds`, EOFError when the peer is gone, Malformed.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    frame, fds = b"", list[int]()
    try:
        while missing := _missing(frame):
            end.settimeout(_remaining(deadline))
            frame += _receive_part(end, missing, fds)
        return decode(frame[_LENGTH.size :]), fds.pop() if fds else None
    except ConnectionError as problem:
        raise EOFError from problem
    finally:
        for fd in fds:
            os.close(fd)


def _missing(frame: bytes) -> int:
    """Bytes of the frame still to be read; before its length is known, those of the length."""
    if len(frame) < _LENGTH.size:
        return _LENGTH.size - len(frame)
    (length,) = _LENGTH.unpack_from(frame)
    if length > MAX_TEXT_BYTES:
        raise Malformed("a message over the bound")
    return _LENGTH.size + int(length) - len(frame)


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _receive_part(end: socket.socket, size: int, fds: list[int]) -> bytes:
    """At most `size` bytes; descriptors that come with them are added to `fds`."""
    data, more, flags, _ = socket.recv_fds(end, size, 1, _CLOEXEC)
    fds += more
    if not data:
        raise EOFError
    if flags & socket.MSG_CTRUNC or len(fds) > 1:
        raise Malformed("more than one descriptor")
    return data
