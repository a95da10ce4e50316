"""Takes an upload's bytes or images, passes them to another process in anonymous memory, and reads them there."""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from PIL import Image

from sdxl_gateway.core.picture import CHANNELS, Mode
from sdxl_gateway.decoding.messages import Planes
from sdxl_gateway.ipc.codec import Malformed

STRIP_PIXELS = 2**16
"""Written at a time: copying the whole picture first would double its memory, and take several times as long."""


@contextmanager
def passed(data: bytes) -> Iterator[int]:
    """A descriptor of sealed memory that holds `data`."""
    fd = _anonymous()
    try:
        _write(fd, data)
        seal(fd)
        yield fd
    finally:
        os.close(fd)


def contents(fd: int) -> bytes:
    """The memory's whole content."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def filled(images: Sequence[Image.Image]) -> int:
    """A descriptor, owned by the caller, of memory with the pixels of "RGB" or "L" images, one after another."""
    fd = _anonymous()
    for image in images:
        rows = max(1, STRIP_PIXELS // image.width)
        for top in range(0, image.height, rows):
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
            _write(fd, strip.tobytes())
    return fd


def images(fd: int, planes: Planes) -> list[Image.Image]:
    """The images in memory from `filled`, without a copy for one channel. Raises Malformed if `planes` do not fit."""
    try:
        seal(fd)
    except OSError as problem:
        raise Malformed("memory that cannot be sealed, as another process may write to it") from problem
    counts = [planes.width * planes.height * CHANNELS[mode] for mode in planes.modes]
    if os.fstat(fd).st_size != sum(counts):
        raise Malformed("memory of another size")
    view = memoryview(mmap.mmap(fd, sum(counts), access=mmap.ACCESS_READ))
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return [
        _image(mode, planes, view[start : start + count])
        for mode, start, count in zip(planes.modes, starts, counts, strict=True)
    ]


def _image(mode: Mode, planes: Planes, pixels: memoryview) -> Image.Image:
    # Accepts any buffer, though its annotation says bytes.
    return Image.frombuffer(mode, (planes.width, planes.height), cast(bytes, pixels), "raw", mode, 0, 1)


def seal(fd: int) -> None:
    """Prevent writing and resizing for good: reading mapped memory that was truncated would kill the reader."""
    if hasattr(os, "memfd_create"):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sdxl-gateway-picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
