"""Limits this process to what decoding a picture needs: little memory, few files, no children, no life of its own."""

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
"""1.5 times what the most expensive picture takes, a WebP with transparency."""
BASE_BYTES = 256 * 2**20
"""For the interpreter and Pillow, an upload and its colour profile."""
OPEN_FILES = 16
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38


def confine(max_pixels: int) -> None:
    """Irrevocable. Limits that a system other than Linux lacks are skipped there."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        # Both are sent to the whole process group while the server still answers; the server ends this process itself.
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform == "linux":
        _be_expendable()
    _limit(resource.RLIMIT_AS, BASE_BYTES + BYTES_PER_PIXEL * max_pixels)
    _limit(resource.RLIMIT_FSIZE, BASE_BYTES + 4 * max_pixels)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)


def allow_cpu(seconds: float) -> None:
    """Allow that much CPU time from now on, the total rounded up to whole seconds; then SIGXCPU ends the process."""
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


def _be_expendable() -> None:
    """Die with the server, be the first killed when memory runs out, and gain no privileges by executing programs."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    library = ctypes.CDLL(None)
    library.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    parent = os.getppid()
    library.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit()
