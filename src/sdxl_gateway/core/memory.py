"""Has the C library return large blocks to the system as soon as they are freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

LARGE_BYTES = 2**20
KEPT_BYTES = 2**17
"""glibc's default: how much may stay free at a heap's end."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def return_large_blocks(above_bytes: int = LARGE_BYTES, kept_bytes: int = KEPT_BYTES) -> None:
    """For the whole process. Otherwise glibc raises its threshold to the largest block freed, up to 32 MiB, and keeps
    smaller blocks in heaps that are not returned. Does nothing with another C library."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, above_bytes)
        library.mallopt(_TRIM_THRESHOLD, kept_bytes)
