"""Asks the C library to hand large blocks back to the system as soon as they are free."""

from __future__ import annotations

import ctypes
from contextlib import suppress

LARGE_BYTES = 2**20
KEPT_BYTES = 2**17
"""glibc's own: what may lie free at a heap's end."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def return_large_blocks(above_bytes: int = LARGE_BYTES, kept_bytes: int = KEPT_BYTES) -> None:
    """For the whole process. glibc otherwise raises the bound to the largest block freed, up to 32 MiB, and keeps what
    is below in heaps of which a picture's end gives nothing back. Does nothing with another C library."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, above_bytes)
        library.mallopt(_TRIM_THRESHOLD, kept_bytes)
