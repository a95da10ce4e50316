"""The benchmark of 8-bit products runs from end to end on a CPU, with the demo model, which imitates them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.engines import Place
from benchmarks.products import product_rows
from benchmarks.steps import Effort
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine import load
from sdxl_gateway.engine.compile import Denoisers


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(load, "Denoisers", partial(Denoisers, backend="eager"))
    monkeypatch.setattr(load, "refuse_unable", lambda *_: None)
    effort = Effort(rows=(2,), calls=1, steps=(2,), pictures=1, openings=1)
    try:
        rows = list(product_rows(DEMO_MODEL, tmp_path, Place(threads=1), 64, effort, None, "eager"))
    finally:
        torch.set_num_threads(threads)
    off = [row.figure for row in rows if row.name.startswith("prediction")]
    assert len(off) == 2
    assert all(0 < figure < 0.1 for figure in off)
    assert {"2 rows, compiled: device, seconds", "as it is: picture of 2 steps, seconds"} < {row.name for row in rows}
