"""The steps' benchmark runs from end to end on a CPU, with the demo model and a compiler that changes nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.engines import Place
from benchmarks.steps import Effort, measure
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine import load
from sdxl_gateway.engine.compile import Denoisers
from tests.kit.recorders import FakeRecorder


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(load, "Denoisers", partial(Denoisers, backend="eager"))
    effort = Effort(rows=(2,), calls=1, steps=(4,), pictures=1, openings=2)
    try:
        rows = list(measure(DEMO_MODEL, tmp_path, Place(threads=1), 64, effort, FakeRecorder(growth_bytes=1), "eager"))
    finally:
        torch.set_num_threads(threads)
    names = [row.name for row in rows]
    for way in ("as it is", "compiled"):
        kinds = (f"{way}", f"{way}, recorded")
        assert {f"2 rows, {kind}: {whose}, seconds" for kind in kinds for whose in ("device", "host")} < set(names)
    assert {f"{way}: picture of 4 steps, seconds" for way in ("as it is", "recorded", "compiled and recorded")} < set(
        names
    )
    assert {f"{way}: ready after, seconds" for way in ("recorded", "compiled for and recorded")} < set(names)
    assert all(row.figure > 0 for row in rows)
