"""The rows about ControlNets are measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.controls import control_rows
from benchmarks.engines import Look


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        rows = list(control_rows(tmp_path, Look(side=64, steps=1, guidance=1.0), pairs=1))
    finally:
        torch.set_num_threads(threads)

    assert ["1 control," in row.name for row in rows] == [True, False]
    assert all(row.figure > 0 for row in rows)
