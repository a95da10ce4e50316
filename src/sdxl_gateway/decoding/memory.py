"""Takes an upload's bytes or images, gives anonymous memory that another process can read, and the other way round."""

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
"""Written at a time: a second copy of the whole picture would take memory, and several times as long."""


@contextmanager
def passed(data: bytes) -> Iterator[int]:
    """A descriptor of memory with `data`, which nobody can change."""
    fd = _anonymous()
    try:
        _write(fd, data)
        seal(fd)
        yield fd
    finally:
        os.close(fd)


def contents(fd: int) -> bytes:
    """All that the memory holds."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def filled(images: Sequence[Image.Image]) -> int:
    """A descriptor, then the caller's, of memory with the pixels of "RGB" or "L" images, one behind the other."""
    fd = _anonymous()
    for image in images:
        rows = max(1, STRIP_PIXELS // image.width)
        for top in range(0, image.height, rows):
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
            _write(fd, strip.tobytes())
    return fd


def images(fd: int, planes: Planes) -> list[Image.Image]:
    """What `filled` was given; images of one channel use the memory itself. Raises Malformed for any other memory."""
    try:
        seal(fd)
    except OSError as problem:
        raise Malformed("memory that somebody else writes") from problem
    counts = [planes.width * planes.height * CHANNELS[mode] for mode in planes.modes]
    if os.fstat(fd).st_size != sum(counts):
        raise Malformed("memory of another size")
    view = memoryview(mmap.mmap(fd, sum(counts), access=mmap.ACCESS_READ))
    starts = [sum(counts[:place]) for place in range(len(counts))]
    return [
        _image(mode, planes, view[start : start + count])
        for mode, start, count in zip(planes.modes, starts, counts, strict=True)
    ]


def _image(mode: Mode, planes: Planes, pixels: memoryview) -> Image.Image:
    # It takes whatever has a buffer, and says so of less.
    return Image.frombuffer(mode, (planes.width, planes.height), cast(bytes, pixels), "raw", mode, 0, 1)


def seal(fd: int) -> None:
    """From now on nobody can write or shorten it: a reader of mapped memory that shrinks would be killed."""
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
