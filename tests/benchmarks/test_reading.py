"""The rows about how LoRAs come, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.figures import Row
from benchmarks.reading import SMALL, measure
from sdxl_gateway.config import DEMO_MODEL

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def row(rows: list[Row], words: str) -> Row:
    (found,) = (one for one in rows if words in one.name)
    return found


@pytest.mark.full
def test_loads_are_measured_alone_beside_steps_and_from_each_tier(tmp_path: Path) -> None:
    rows = list(measure(DEMO_MODEL, tmp_path, SMALL))

    assert all(one.figure > 0 for one in rows if not {"driver", "switch"} & set(one.name.split()))
    assert row(rows, "asked of the driver").figure == 0
    assert row(rows, "median step beside a load / alone").promise == 1.15
    assert row(rows, "switch to a LoRA of rank 4 in host memory").samples == SMALL.loads
