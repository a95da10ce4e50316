"""Marks of files, from their status: equal while nothing has changed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from sdxl_gateway.core.errors import AdapterRefused

TICK_SECONDS = 0.05
CHANGED = "The file changed while it was being copied; try again."

Mark = tuple[int, int, int]
"""(size in bytes, mtime in ns, inode) of a file; a folder's size, which means nothing, is 0."""


def mark_of(status: os.stat_result) -> Mark:
    """The mark of a file or folder with this status."""
    size_bytes = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return size_bytes, status.st_mtime_ns, status.st_ino


def settled_mark(look: Callable[[], os.stat_result]) -> Mark:
    """The file's mark, once a later change is certain to change it: timestamps have ticks of some milliseconds.

    Raises AdapterRefused if the file changes in the meantime.
    """
    status = look()
    age_seconds = time.time() - status.st_mtime
    if 0 <= age_seconds < TICK_SECONDS:
        time.sleep(TICK_SECONDS - age_seconds)
        if mark_of(look()) != mark_of(status):
            raise AdapterRefused(CHANGED)
    return mark_of(status)
