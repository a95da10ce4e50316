"""The row about enlarging is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.upscale import ON_CPU, measure


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_its_row_is_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        (row,) = measure(tmp_path, replace(ON_CPU, side=64, net=(8, 4, 1)), pairs=1)
    finally:
        torch.set_num_threads(threads)
    assert row.figure > 0
