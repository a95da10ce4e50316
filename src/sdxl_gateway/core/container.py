"""Takes nothing, gives what this process may use of memory and processors where a container limits them.

Both versions of Linux's control groups are read, the process's own group and those around it: the tightest counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
NO_LIMIT_BYTES = 2**60
"""Version 1 says so by a number nobody has."""


def memory_left_bytes() -> int | None:
    """What may still be taken before a limit; None without one. Cached files give way, and so do not count."""
    left = [*_left_by("", "memory.max", "memory.current", "inactive_file")]
    left += _left_by("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(left, default=None)


def processors() -> int:
    """How many may be kept busy, by affinity and by quota; at least one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(min([affinity, *_quotas()])), 1)


def _left_by(controller: str, limit: str, used: str, cached: str) -> Iterator[int]:
    for group in _groups(controller):
        most, taken = _number(group / limit), _number(group / used)
        if most is not None and most < NO_LIMIT_BYTES and taken is not None:
            yield max(most - taken + _line(group / "memory.stat", cached), 0)


def _quotas() -> Iterator[float]:
    """Processors' worth of time."""
    for group in _groups(""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    for group in _groups("cpu"):
        most, whole = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if most is not None and whole:
            yield most / whole


def _groups(controller: str) -> Iterator[Path]:
    """The process's group and those around it; "" is version 2. Inside a container its own is at the root."""
    root = GROUPS / controller
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inner = PurePosixPath(path.lstrip("/"))
            yield from (root / one for one in (inner, *inner.parents))


def _number(file: Path) -> int | None:
    """None where there is none: "max", or -1, stands for no limit."""
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _line(file: Path, name: str) -> int:
    found = (line.split() for line in _text(file).splitlines())
    return next((int(words[1]) for words in found if words[0] == name), 0)


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="ascii").strip()
    return ""
