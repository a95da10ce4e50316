"""The benchmark of how pictures end runs from end to end where there is no GPU: with the demo model, in small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.engines import Look, Place
from benchmarks.finishing import IMPORTS, measure
from sdxl_gateway.config import DEMO_MODEL


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        rows = list(measure(DEMO_MODEL, tmp_path, Place(threads=1), Look(64, 5, 1.0), repeats=1))
    finally:
        torch.set_num_threads(threads)
    names = [row.name for row in rows]
    assert names[: len(IMPORTS)] == [f"import of {name}" for name in IMPORTS]
    for name in ("float32: decode whole, seconds", "look by linear, seconds", "a step as told / true"):
        assert name in names
    assert "on the loop's thread: steps and a decode / the steps alone" in names
    assert all(row.figure > 0 for row in rows if "adds" not in row.name)
