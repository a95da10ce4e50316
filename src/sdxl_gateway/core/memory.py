"""Asks the C library to hand large blocks back to the system as soon as they are free."""

from __future__ import annotations

import ctypes
from contextlib import suppress

LARGE_BYTES = 2**20
_MMAP_THRESHOLD = -3


def return_large_blocks() -> None:
    """For the whole process. glibc otherwise raises the bound to the largest block freed, up to 32 MiB, and keeps what
    is below in heaps of which a picture's end gives nothing back. Does nothing with another C library."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
