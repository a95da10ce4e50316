"""What is known of a card lies on the disk row by row, with how each section ended."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.figures import Row
from benchmarks.record import WHOLE, Record

ROW = Row("step, seconds", 0.03, 0.04, True, "", 1)


def test_a_killed_run_leaves_its_rows_and_is_taken_up_where_it_was(tmp_path: Path) -> None:
    record = Record.of_card("NVIDIA H200", {"python": "3.12"}, tmp_path)
    for name in ("whole", "killed", "failed"):
        record.begin(name)
        record.add(name, ROW)
    record.end("whole", WHOLE)
    record.end("failed", "RuntimeError: out of memory")

    again = Record.of_card("NVIDIA H200", {}, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["gpu-nvidia-h200.json"]
    assert [name for name in again.sections if again.has(name)] == ["whole"]
    assert [len(section["rows"]) for section in again.sections.values()] == [1, 1, 1]
    assert again.sections["failed"]["ended"] == "RuntimeError: out of memory"
    assert again.sections["killed"]["machine"] == {"python": "3.12"}


def test_what_is_measured_anew_stays_as_it_was_until_there_is_a_row(tmp_path: Path) -> None:
    record = Record.of_card("cpu", {}, tmp_path)
    record.begin("steps")
    record.add("steps", ROW)
    Record.of_card("cpu", {}, tmp_path).begin("steps")
    assert json.loads(record.path.read_text())["steps"]["rows"][0]["kept"] is True
