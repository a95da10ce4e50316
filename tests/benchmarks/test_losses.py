"""Ways to paint are measured, rows and losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines import Bench, Look, Place
from benchmarks.losses import WAYS, measured
from sdxl_gateway.config import DEMO_MODEL
from tools.demo_model import evaluate


@pytest.mark.full
def test_each_way_is_measured(tmp_path: Path) -> None:
    with Bench(DEMO_MODEL, tmp_path, Place(threads=1), Look(side=64, steps=5, guidance=2.5)) as bench:
        ways = {way.name: way for way in measured(bench, evaluate.cases(1, 0))}
    assert list(ways) == list(WAYS)
    whole, ended = ways["all steps guided"], ways["guidance_end 0.6"]
    assert (whole.rows, ended.rows, ways["no guidance"].rows) == (10, 8, 5)
    assert whole.psnr > ended.psnr > 10
