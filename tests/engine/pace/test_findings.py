"""Measurements are stored and reused; a file that cannot be read or written does not prevent a start."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from sdxl_gateway.engine.pace.findings import FILE_NAME, LOCK_NAME, Findings


def never() -> float:
    raise AssertionError("it was measured before")


def test_a_figure_is_measured_once_for_all_starts(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert Findings(folder).of("one", lambda: 2) == 2
    assert Findings(folder).of("another", lambda: 0.5) == 0.5
    assert (Findings(folder).of("one", never), Findings(folder).of("another", never)) == (2, 0.5)
    assert {file.name for file in folder.iterdir()} == {FILE_NAME, LOCK_NAME}


def test_nobody_measures_beside_another(tmp_path: Path) -> None:
    def measured() -> float:
        with (tmp_path / LOCK_NAME).open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return 0.25

    assert Findings(tmp_path).of("one", measured) == 0.25
    with (tmp_path / LOCK_NAME).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"one": "2"}', '{"one": 0}', '{"one": true}', '{"one": Infinity}'])
def test_a_file_of_something_else_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert Findings(tmp_path).of("one", lambda: 3) == 3
    assert Findings(tmp_path).of("one", never) == 3


def test_a_disk_that_takes_nothing_stops_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data").write_text("a file where a folder is wanted")
    assert Findings(tmp_path / "data").of("one", lambda: 0.25) == 0.25
    assert "the next start measures again" in caplog.text
