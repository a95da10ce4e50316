"""Works that measure in processes of their own: their rows as they come, and how each ended, whatever it did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import pytest

from benchmarks.beside import measured
from benchmarks.figures import Row
from benchmarks.record import WHOLE

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

FORK = get_context("fork")


def row(name: str, figure: float = 1.0) -> Row:
    return Row(name, figure, None, True, "", 1)


def sound() -> Iterator[Row]:
    yield row("a")
    yield row("b")


def broken() -> Iterator[Row]:
    yield row("c")
    raise ValueError("no such card")


def lost() -> Iterator[Row]:
    yield row("d")
    os._exit(3)


def endless() -> Iterator[Row]:
    child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
    yield row("e", child.pid)
    Event().wait()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_every_work_tells_its_rows_and_how_it_ended() -> None:
    told: dict[str, list[str]] = {"sound": [], "broken": [], "lost": []}
    for name, found in measured(FORK, {"sound": sound, "broken": broken, "lost": lost}, 60):
        told[name].append(found.name if isinstance(found, Row) else found)
    assert told == {
        "sound": ["a", "b", WHOLE],
        "broken": ["c", "ValueError: no such card"],
        "lost": ["d", "its process was lost"],
    }


def test_what_takes_too_long_is_cut_off_with_all_it_started() -> None:
    found = [one for _, one in measured(FORK, {"endless": endless}, 0.5)]
    first, last = found
    assert isinstance(first, Row)
    assert last == "cut off after 0 s"
    assert is_gone(int(first.figure))
