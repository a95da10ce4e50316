"""What an engine gives once it has settled is measured to the end: on a CPU, with the demo model, in small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.engines import Look, Place
from benchmarks.settling import settling_rows
from sdxl_gateway.config import DEMO_MODEL


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        rows = list(settling_rows(DEMO_MODEL, tmp_path, Place(threads=1), Look(64, 3, 5.0), 1, patience_seconds=1.0))
    finally:
        torch.set_num_threads(threads)
    assert [row.name.partition(",")[0] for row in rows] == [
        "ready after",
        "first picture once ready",
        "compiled and taken up after",
        "picture of 3 steps meanwhile",
        "longest step meanwhile / usual",
        "files of whole code by then",
        "picture of 3 steps then",
        "longest step then / usual",
    ]
    assert all(row.figure > 0 for row in rows if not row.name.startswith("files"))
