"""The rows about a compiled UNet are measured, here with a compiler that changes nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.compiled import step_rows
from benchmarks.engines import Look, Place
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine import load
from sdxl_gateway.engine.compile import Denoisers


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(load, "Denoisers", partial(Denoisers, backend="eager"))
    try:
        rows = list(step_rows(DEMO_MODEL, tmp_path, Place(threads=1), Look(side=64, steps=0, guidance=1.0), repeats=1))
    finally:
        torch.set_num_threads(threads)

    assert [row.name for row in rows] == ["float32: step of 1, compiled / not", "float32: step of 4, compiled / not"]
    assert all(row.figure > 0 for row in rows)
