"""The rows of LoRAs on a checkpoint are measured to the end: on a CPU, with the demo model, in small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.engines import Look, Place
from benchmarks.lora_rows import Scale, lora_rows
from sdxl_gateway.config import DEMO_MODEL


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_row_is_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    scale = Scale(Look(side=64, steps=3, guidance=1.0), repeats=1, rank=2, load_bytes=100_000)
    try:
        rows = list(lora_rows(DEMO_MODEL, tmp_path, Place(threads=1), scale))
    finally:
        torch.set_num_threads(threads)

    assert [row.name for row in rows] == [
        "float32: picture, seconds",
        "float32: switch to a warm blend of 1 of rank 2, in denoising steps",
        "float32: switch to a warm blend of 3 of rank 2, in denoising steps",
        "float32: step with a blend of 3 on / off",
        "float32: cold load of a LoRA of 0.1 MB, seconds",
        "float32: longest step while such a LoRA loads / median step without",
        "float32: that cold LoRA put on / diffusers' load and fuse",
    ]
    assert all(row.figure > 0 for row in rows if "switch" not in row.name)
