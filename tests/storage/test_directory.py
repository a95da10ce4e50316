"""One server has the data directory; a second one is told whose it is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sdxl_gateway.storage.directory import DirectoryInUse, DirectoryUnusable, sole_server

HOLDER = """
import sys, time
from pathlib import Path
from sdxl_gateway.storage.directory import sole_server

with sole_server(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_is_told_who_has_it(tmp_path: Path) -> None:
    with sole_server(tmp_path / "data"):
        owner = rf"data is in use by the server of process {os.getpid()}\."
        with pytest.raises(DirectoryInUse, match=owner), sole_server(tmp_path / "data"):
            pytest.fail("two hold it")
        with sole_server(tmp_path / "other"):
            pass


@pytest.mark.parametrize("directory", ["data", "data/below"])
def test_a_file_in_the_way_is_told(tmp_path: Path, directory: str) -> None:
    (tmp_path / "data").write_bytes(b"")
    said = rf"^data_directory: {tmp_path / directory} cannot be used: a file of that name is in the way\."
    with pytest.raises(DirectoryUnusable, match=said), sole_server(tmp_path / directory):
        pytest.fail("a file was held as a directory")


def test_a_disk_that_takes_no_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Path, flags: int, mode: int) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(DirectoryUnusable, match="Read-only file system"), sole_server(tmp_path):
        pytest.fail("held without a lock")


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_server(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())
    with pytest.raises(KeyError), sole_server(tmp_path):
        raise KeyError
    with sole_server(tmp_path):
        pass


def test_a_holder_that_is_killed_holds_no_longer(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DirectoryInUse, match=str(holder.pid)), sole_server(tmp_path):
            pytest.fail("two hold it")
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    with sole_server(tmp_path):
        pass


def test_a_file_system_without_locks_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with sole_server(tmp_path):
        assert "not supported" in caplog.text
