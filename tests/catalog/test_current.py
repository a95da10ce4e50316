"""What the settings name is as it lies there now, and is not opened again while nothing changed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdxl_gateway.catalog.current import TICK_SECONDS, Current
from sdxl_gateway.core.errors import CheckpointProblem


@dataclass
class Opener:
    """An entry is what stands in the file; "broken" is none."""

    path: Path
    times: int = 0
    told: list[str] = field(default_factory=list)

    def open(self) -> str:
        self.times += 1
        text = self.path.read_text()
        if text == "broken":
            raise CheckpointProblem(text)
        return text

    def current(self) -> Current[str]:
        return Current({"one": self.open}, lambda _: (self.path,), self.told.append)


def settle(path: Path) -> None:
    """As if it had been written a while ago."""
    before = time.time() - 10 * TICK_SECONDS
    os.utime(path, (before, before))


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    made = Opener(tmp_path / "file")
    made.path.write_text("a")
    settle(made.path)
    return made


def test_what_did_not_change_is_left_alone(opener: Opener) -> None:
    current = opener.current()
    for _ in range(3):
        current.refresh()
    assert (current["one"], opener.times, opener.told) == ("a", 2, [])


def test_a_file_that_took_its_place(opener: Opener, tmp_path: Path) -> None:
    current = opener.current()
    current.refresh()
    other = tmp_path / "other"
    other.write_text("b")
    other.rename(opener.path)
    current.refresh()
    assert (dict(current), opener.told) == ({"one": "b"}, ["b"])


def test_a_file_written_over_within_one_tick(opener: Opener) -> None:
    current = opener.current()
    for text in "bcd":
        opener.path.write_text(text)
        current.refresh()
        assert current["one"] == text


@pytest.mark.parametrize("gone", [True, False])
def test_one_that_is_half_written_or_gone_is_what_it_was_until_it_is_whole(opener: Opener, gone: bool) -> None:
    current = opener.current()
    if gone:
        opener.path.unlink()
    else:
        opener.path.write_text("broken")
    current.refresh()
    assert current["one"] == "a"
    opener.path.write_text("b")
    current.refresh()
    assert current["one"] == "b"
