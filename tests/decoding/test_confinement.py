"""A confined process that allocates, computes, writes or forks without bound meets its end, or a refusal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFINED = "import os; from sdxl_gateway.decoding.confinement import *; confine(1_000_000); "


def run(then: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CONFINED + then]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60, check=False)


def test_memory_ends_where_pictures_of_that_size_end(tmp_path: Path) -> None:
    assert run("bytearray(200 * 2**20)", tmp_path).returncode == 0
    assert "MemoryError" in run("bytearray(300 * 2**20)", tmp_path).stderr


def test_who_computes_for_ever_is_killed(tmp_path: Path) -> None:
    ended = run("allow_cpu(0.1)\nwhile True: pass", tmp_path)
    assert ended.returncode == -signal.SIGXCPU


def test_each_picture_has_its_seconds(tmp_path: Path) -> None:
    work = "end = time.process_time() + 0.6\n while time.process_time() < end: pass"
    then = f"import time\nfor _ in range(3):\n allow_cpu(1)\n {work}"
    assert run(then, tmp_path).returncode == 0


def test_files_end_where_pixels_end(tmp_path: Path) -> None:
    ended = run("os.truncate(os.open('a', os.O_CREAT | os.O_RDWR), 2**29)", tmp_path)
    assert "File too large" in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may always fork")
def test_it_starts_nothing(tmp_path: Path) -> None:
    assert "BlockingIOError" in run("os.fork()", tmp_path).stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_a_whole_group_are_left_to_the_server(tmp_path: Path, how: int) -> None:
    assert run(f"os.kill(os.getpid(), {int(how)})", tmp_path).returncode == 0
