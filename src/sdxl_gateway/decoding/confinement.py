"""Takes from this process what decoding a picture does not need: memory, files, processes, and a life of its own."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

BYTES_PER_PIXEL = 32
"""Half as much again as the costliest picture takes, a WebP with holes."""
BASE_BYTES = 256 * 2**20
"""The interpreter and Pillow, an upload and its profile."""
OPEN_FILES = 16
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38


def confine(max_pixels: int) -> None:
    """For good. What another system than Linux does not know is left out there."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        # Both are sent to whole groups of processes while the server still answers; it ends this one itself.
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform == "linux":
        _be_the_first_to_go()
    _limit(resource.RLIMIT_AS, BASE_BYTES + BYTES_PER_PIXEL * max_pixels)
    _limit(resource.RLIMIT_FSIZE, BASE_BYTES + 4 * max_pixels)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)


def allow_cpu(seconds: float) -> None:
    """From now on the process may compute that long, rounded up to a whole second of its life; then SIGXCPU ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (_least(limit, hard), hard))


def _limit(what: int, most: int) -> None:
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(what)
        most = _least(most, hard)
        resource.setrlimit(what, (most, most))


def _least(limit: int, hard: int) -> int:
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _be_the_first_to_go() -> None:
    """When the server dies, and when the machine has no memory left; no program started from here gains rights."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    library = ctypes.CDLL(None)
    library.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    parent = os.getppid()
    library.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit()
