"""A file is written whole or not at all, and nothing half-written is left."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_gateway.core.files import INCOMING_PREFIX, INCOMING_SUFFIX, IncomingFile, write_whole


def test_what_lies_there_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for chunks in ([b"one", b" two"], [], [b"x" * 2**20]):
        write_whole(path, chunks)
        assert path.read_bytes() == b"".join(chunks)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, b"before"])
def test_chunks_that_break_leave_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("gone")

    path = tmp_path / "a.bin"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(OSError, match="gone"):
        write_whole(path, broken())
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_disk_that_takes_no_more_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a.bin", [b"x"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_can_be_read_before_it_has_its_name(tmp_path: Path) -> None:
    with IncomingFile(tmp_path) as file:
        file.write(b"data")
        file.settle()
        assert file.path.read_bytes() == b"data"
        assert file.path.name.startswith(INCOMING_PREFIX)
        assert file.path.name.endswith(INCOMING_SUFFIX)
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "whole", [b""])
    write_whole(tmp_path / "own", [b""], mode=0o600)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["whole"] == modes["plain"]
    assert modes["own"] == 0o600
