"""How much memory and how many processors this process may use, in a container that limits them.

Both versions of Linux's control groups are read, of the process's own group and its parents: the lowest limit counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
NO_LIMIT_BYTES = 2**60
"""Version 1 expresses "no limit" by a huge number."""


def memory_left_bytes() -> int | None:
    """How much memory may still be allocated; None without a limit. The page cache does not count, as it gives way."""
    left = [*_left_by("", "memory.max", "memory.current", "inactive_file")]
    left += _left_by("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(left, default=None)


def processors() -> int:
    """How many processors may be kept busy, by affinity and by quota; at least one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(min([affinity, *_quotas()])), 1)


def _left_by(controller: str, limit: str, used: str, cached: str) -> Iterator[int]:
    for group in _groups(controller):
        most, taken = _number(group / limit), _number(group / used)
        if most is not None and most < NO_LIMIT_BYTES and taken is not None:
            yield max(most - taken + _line(group / "memory.stat", cached), 0)


def _quotas() -> Iterator[float]:
    """The quotas of the groups, in processors."""
    for group in _groups(""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    for group in _groups("cpu"):
        most, whole = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if most is not None and whole:
            yield most / whole


def _groups(controller: str) -> Iterator[Path]:
    """The process's group and its parents; "" is version 2. Inside a container the own group is the root."""
    root = GROUPS / controller
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inner = PurePosixPath(path.lstrip("/"))
            yield from (root / one for one in (inner, *inner.parents))


def _number(file: Path) -> int | None:
    """The number in the file; None for "max" or -1, which stand for no limit."""
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _line(file: Path, name: str) -> int:
    found = (line.split() for line in _text(file).splitlines())
    return next((int(words[1]) for words in found if words[0] == name), 0)


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="ascii").strip()
    return ""
