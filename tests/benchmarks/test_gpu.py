"""The GPU's benchmark in turn: what is wanted most first, each section within its own seconds, none of them twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.figures import Row
from benchmarks.record import WHOLE, Record
from benchmarks.rig import Rig, small
from benchmarks.sections import AHEAD, STAGES, Stage

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

FORK = get_context("fork")


def fake(name: str, rig: Rig) -> Iterator[Row]:
    yield Row(name, rig.look.steps, None, True, "", 1)
    if name == "broken":
        raise ValueError(name)


def stage(*names: str, seconds: float = 60) -> Stage:
    return Stage(seconds, {name: partial(fake, name) for name in names})


def test_a_run_is_taken_up_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = stage("first"), stage("one", "broken"), stage("late")
    monkeypatch.setattr(gpu, "STAGES", stages)
    record, rig = Record.of_card("cpu", {}, tmp_path), small(tmp_path)
    assert gpu.take(rig, stages, record, FORK, time.monotonic() + 60, skip=["late"]) == []
    assert {name: section["ended"] for name, section in record.sections.items()} == {
        "first": WHOLE,
        "one": WHOLE,
        "broken": "ValueError: broken",
    }
    again = Record.of_card("cpu", {}, tmp_path)
    assert gpu._skipped([], True, again) == ["first", "one"]
    assert gpu._skipped(["late"], False, again) == ["first", "one", "broken"]
    assert gpu.take(rig, stages, again, FORK, time.monotonic() + 1, skip=["first"]) == ["one", "broken", "late"]


def test_what_was_never_measured_comes_first() -> None:
    names = [name for one in STAGES for name in one.sections]
    assert len(set(names)) == len(names)
    first = ["settling", "pictures", *AHEAD, "syncs", "together", "start", "loading", "reading", "products", "kernels"]
    assert names[: len(first)] == first


def test_no_card_is_said_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "CARD", "print('')")
    gpu.main([])
    assert "no CUDA device" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", [name for one in STAGES for name in one.sections])
def test_each_section_is_measured_to_its_end_in_small(name: str, tmp_path: Path) -> None:
    gpu.main(["--small", "--seconds", "1000", "--work", str(tmp_path), "--only", name])
    (section,) = Record.of_card("cpu", {}, tmp_path).sections.values()
    assert section["ended"] == WHOLE
    assert bool(section["rows"]) == (name not in {"products", "compiling-products"}), "a CPU cannot"
