"""What a container may use: both versions of control groups, in it or seen from outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sdxl_gateway.core import container

GIB = 2**30
Lay = Callable[[str, dict[str, str]], None]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Lays out a process's membership and the files of its groups; the processor count is 64."""
    membership, groups = tmp_path / "membership", tmp_path / "groups"
    monkeypatch.setattr(container, "MEMBERSHIP", membership)
    monkeypatch.setattr(container, "GROUPS", groups)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))

    def write(member_of: str, files: dict[str, str]) -> None:
        membership.write_text(member_of)
        for path, text in files.items():
            (groups / path).parent.mkdir(parents=True, exist_ok=True)
            (groups / path).write_text(text)

    return write


def test_without_a_limit(lay: Lay) -> None:
    lay("0::/\n", {"memory.max": "max\n", "memory.current": "5\n", "cpu.max": "max 100000\n"})
    assert (container.memory_left_bytes(), container.processors()) == (None, 64)


def test_without_control_groups(lay: Lay) -> None:
    lay("", {})
    assert (container.memory_left_bytes(), container.processors()) == (None, 64)


def test_version_2_inside_a_container(lay: Lay) -> None:
    stat = f"anon 1\ninactive_file {2 * GIB}\nactive_file 7\n"
    files = {
        "memory.max": str(16 * GIB),
        "memory.current": str(6 * GIB),
        "memory.stat": stat,
        "cpu.max": "250000 100000",
    }
    lay("0::/\n", files)
    assert container.memory_left_bytes() == 12 * GIB, "cached files give way"
    assert container.processors() == 2


def test_the_tightest_group_around_the_process_counts(lay: Lay) -> None:
    files = {
        "a.slice/memory.max": str(4 * GIB),
        "a.slice/memory.current": str(3 * GIB),
        "a.slice/cpu.max": "50000 100000",
        "a.slice/b.service/memory.max": str(8 * GIB),
        "a.slice/b.service/memory.current": str(GIB),
        "a.slice/b.service/cpu.max": "max 100000",
    }
    lay("0::/a.slice/b.service\n", files)
    assert container.memory_left_bytes() == GIB
    assert container.processors() == 1, "half a processor is one"


def test_version_1_as_a_container_sees_it(lay: Lay) -> None:
    """The path is the host's, where the container's own group is at the root."""
    files = {
        "memory/memory.limit_in_bytes": str(8 * GIB),
        "memory/memory.usage_in_bytes": str(9 * GIB),
        "memory/memory.stat": f"total_inactive_file {3 * GIB}\n",
        "cpu/cpu.cfs_quota_us": "400000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    lay("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n", files)
    assert container.memory_left_bytes() == 2 * GIB
    assert container.processors() == 4


def test_version_1_without_a_limit(lay: Lay) -> None:
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "memory/memory.usage_in_bytes": "5",
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
    }
    lay("4:memory:/\n3:cpu,cpuacct:/\n", files)
    assert (container.memory_left_bytes(), container.processors()) == (None, 64)
