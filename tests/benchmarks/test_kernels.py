"""The benchmark of single kernels' levers runs from end to end on a CPU: with the demo model, and as if recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import kernels
from benchmarks.engines import Place
from benchmarks.kernels import kernel_rows
from benchmarks.steps import Effort
from sdxl_gateway.config import DEMO_MODEL
from tests.kit.recorders import FakeRecorder

SUMMED = "products summed in float16", "not channels-last"


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(kernels, "SELF_ATTENTIONS", ((2, 16, 32),))
    effort = Effort(rows=(2,), calls=1, steps=(2,), pictures=1, openings=1)
    given = DEMO_MODEL, tmp_path, Place(threads=1), 64, effort, FakeRecorder(growth_bytes=1), "eager"
    try:
        rows = list(kernel_rows(*given))
    finally:
        torch.set_num_threads(threads)
    texts = "texts read in every step", "their keys and values ready"
    names = {row.name.rpartition(":")[0] for row in rows if row.name.endswith("host, seconds")}
    assert names == {
        *(
            f"{text}, {way}{recorded}"
            for text in texts
            for way in ("as it is", "compiled")
            for recorded in ("", ", recorded")
        ),
        *(f"queries, keys and values in {count}, recorded" for count in ("three products", "one product")),
        *(f"{kind}, as it is{recorded}" for kind in SUMMED for recorded in ("", ", recorded")),
        "making keys and values",
    }
    assert all(row.figure > 0 for row in rows)
