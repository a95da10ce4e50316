"""A channel of messages over a socket pair; pixels are passed as anonymous memory.

A frame is a fixed head (length of the text, size of the memory), the message's text, and one file descriptor if it has
blobs. The memory never has a name, so that nothing is left behind when either process is killed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import struct
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Lock

from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Message, decode, encode

MAX_TEXT_BYTES = 4 * 2**20
MAX_MEMORY_BYTES = 512 * 2**20
READ_BYTES = 64 * 2**10
MAX_FDS_PER_READ = 64
_HEAD = struct.Struct(">IIQ")  # length of the blob sizes, length of the message, bytes of memory
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class FrameTooLarge(ValueError):
    """A message that exceeds the limits above; it was not sent."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, each for an AsyncEnd or a ThreadEnd."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def pack(message: Message) -> tuple[bytes, int | None]:
    """The bytes of a frame, and the descriptor to pass with its first byte, which the caller closes."""
    text, blobs = encode(message)
    sizes = json.dumps([len(blob) for blob in blobs]).encode() if blobs else b""
    total = sum(map(len, blobs))
    if len(text) + len(sizes) > MAX_TEXT_BYTES or total > MAX_MEMORY_BYTES:
        raise FrameTooLarge(f"{type(message).__name__} of {len(text)} bytes of text and {total} of pixels")
    memory = _memory(blobs, total) if blobs else None
    return _HEAD.pack(len(sizes), len(text), total) + sizes + text, memory


def _memory(blobs: tuple[bytes, ...], total: int) -> int:
    fd = _anonymous_fd()
    try:
        os.truncate(fd, total)
        ends = itertools.accumulate(map(len, blobs), initial=0)
        for blob, offset in zip(blobs, ends, strict=False):
            _write_all(fd, blob, offset)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _anonymous_fd() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sdxl-gateway", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _read_all(fd: int, size: int, offset: int) -> bytes:
    parts = []
    while size:
        part = os.pread(fd, size, offset)
        if not part:
            raise Malformed("the memory is shorter than it should be")
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


class Frames:
    """Decodes messages from received bytes, however these are split; owns descriptors until they are read."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: list[int]) -> Iterator[Message]:
        """The messages that are complete now. Raises Malformed for bytes that are no frames."""
        self._fds.extend(fds)
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def close(self) -> None:
        """Close the descriptors that were not read."""
        while self._fds:
            os.close(self._fds.popleft())

    def _next(self) -> Message | None:
        if len(self._buffer) < _HEAD.size:
            return None
        sizes_bytes, text_bytes, total = _HEAD.unpack_from(self._buffer)
        if sizes_bytes + text_bytes > MAX_TEXT_BYTES or total > MAX_MEMORY_BYTES:
            raise Malformed("a frame over the bounds")
        end = _HEAD.size + sizes_bytes + text_bytes
        if len(self._buffer) < end:
            return None
        sizes = bytes(self._buffer[_HEAD.size : _HEAD.size + sizes_bytes])
        text = bytes(self._buffer[_HEAD.size + sizes_bytes : end])
        del self._buffer[:end]
        return decode(text, self._blobs(sizes, total) if sizes else ())

    def _blobs(self, sizes_text: bytes, total: int) -> list[bytes]:
        sizes = _sizes(sizes_text)
        if sum(sizes) != total or not self._fds:
            raise Malformed("blobs without their memory")
        fd = self._fds.popleft()
        try:
            offsets = itertools.accumulate(sizes, initial=0)
            return [_read_all(fd, size, offset) for size, offset in zip(sizes, offsets, strict=False)]
        finally:
            os.close(fd)


def _sizes(text: bytes) -> list[int]:
    try:
        sizes = json.loads(text)
    except ValueError as problem:
        raise Malformed("not JSON") from problem
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise Malformed("not a list of sizes")
    return sizes


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    data, fds, flags, _ = socket.recv_fds(sock, READ_BYTES, MAX_FDS_PER_READ, _CLOEXEC)
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise Malformed("descriptors were lost on the way")
    return data, fds


def _send(sock: socket.socket, data: memoryview, fd: int | None) -> int:
    return sock.send(data) if fd is None else socket.send_fds(sock, [data], [fd])


class ThreadEnd:
    """A blocking end: any thread may send, one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._sending = Lock()
        self._frames = Frames()
        self._ready: deque[Message] = deque()

    def send(self, message: Message) -> None:
        """Send the frame. Raises OSError if the peer is gone."""
        data, fd = pack(message)
        try:
            with self._sending:
                self._send_all(memoryview(data), fd)
        finally:
            if fd is not None:
                os.close(fd)

    def _send_all(self, view: memoryview, fd: int | None) -> None:
        while view:
            view, fd = view[_send(self._sock, view, fd) :], None

    def receive(self) -> Message | None:
        """The next message; None once the peer has closed its end. Raises Malformed."""
        while not self._ready:
            try:
                data, fds = _receive(self._sock)
            except OSError:
                return None
            if not data:
                return None
            self._ready.extend(self._frames.feed(data, fds))
        return self._ready.popleft()

    def close(self) -> None:
        """Close the end; a waiting `receive` returns."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._frames.close()
        self._sock.close()


class AsyncEnd:
    """A non-blocking end on an event loop. `on_closed` is called once, after the last message."""

    def __init__(
        self, sock: socket.socket, on_message: Callable[[Message], None], on_closed: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_message = on_message
        self._on_closed = on_closed
        self._frames = Frames()
        self._unsent: deque[tuple[memoryview, int | None]] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    def send(self, message: Message) -> None:
        """Queue the frame; frames for a peer that is gone are dropped (see `on_closed`). Raises FrameTooLarge."""
        if self._closed:
            return
        data, fd = pack(message)
        self._unsent.append((memoryview(data), fd))
        if len(self._unsent) == 1:
            self._writable()

    def close(self) -> None:
        """Close the end, and drop what is unsent, unread or incomplete; may be called repeatedly."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        for _, fd in self._unsent:
            if fd is not None:
                os.close(fd)
        self._unsent.clear()
        self._frames.close()
        self._sock.close()
        self._on_closed()

    def _readable(self) -> None:
        try:
            data, fds = _receive(self._sock)
            for message in self._frames.feed(data, fds):
                self._on_message(message)
                if self._closed:
                    return
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, Malformed):
            data = b""
        if not data:
            self.close()

    def _writable(self) -> None:
        try:
            while self._unsent:
                self._send_first()
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._sock, self._writable)
        except OSError:
            self._loop.remove_writer(self._sock)  # the reader sees the end, after what the peer still said
        else:
            self._loop.remove_writer(self._sock)

    def _send_first(self) -> None:
        view, fd = self._unsent[0]
        sent = _send(self._sock, view, fd)
        if fd is not None:
            os.close(fd)
        if sent == len(view):
            self._unsent.popleft()
        else:
            self._unsent[0] = (view[sent:], None)
