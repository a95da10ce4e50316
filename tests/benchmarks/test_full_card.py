"""The benchmark of a full card runs where there is none, with nothing taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines import Look, Place
from benchmarks.full_card import LEFT_MIB, measure
from sdxl_gateway.config import DEMO_MODEL

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_line_for_each_amount_of_memory(tmp_path: Path) -> None:
    lines = list(measure(DEMO_MODEL, tmp_path, Place("cpu", "float32", 1), Look(64, 1, 1.0)))
    assert len(lines) == len(LEFT_MIB)
    assert all(": painted in" in line and "0 LoRAs left" in line for line in lines)
