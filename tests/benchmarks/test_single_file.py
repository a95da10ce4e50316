"""The row about single files, in small."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.single_file import single_file_row
from sdxl_gateway.config import DEMO_MODEL
from sdxl_gateway.engine.models.checkpoint import Source
from tests.kit.single_files import write_single_file


def test_a_file_is_loaded_and_read(tmp_path: Path) -> None:
    path = write_single_file(tmp_path / "one.safetensors")
    row = single_file_row(Source("one", path, config=DEMO_MODEL), torch.float16, repeats=2)
    assert (row.name, row.samples) == ("a single file of 0.0142 GB loaded / read", 2)
    assert row.figure > 0
