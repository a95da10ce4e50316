"""The benchmark of switches goes through on a CPU, and what it says of weights holds there already."""

from __future__ import annotations

import pytest
import torch

from benchmarks.blends import TINY, random_unet
from benchmarks.switching import TINY_EVERY, rows

pytest.importorskip("triton", reason="Triton is for Linux alone")


def test_rows() -> None:
    device = torch.device("cpu")
    found = list(rows(random_unet(TINY, device, torch.float16), device, 1, TINY_EVERY))
    assert [row.way for row in found] == len(found) // 2 * ["stacks", "kernels"]
    for row in found:
        assert row.restored
        assert row.error < 1.02 * row.least
