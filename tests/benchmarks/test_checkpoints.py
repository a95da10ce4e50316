"""The rows about checkpoints, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.checkpoints import checkpoint_rows
from benchmarks.engines import Place
from sdxl_gateway.config import DEMO_MODEL

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_checkpoints_take_turns(tmp_path: Path) -> None:
    copied, read = checkpoint_rows("demo", DEMO_MODEL, tmp_path, Place(threads=1), repeats=2)

    assert copied.name == "demo: another checkpoint from host memory / copying its weights"
    assert read.name == "demo: another checkpoint from disk / reading its files"
    assert copied.figure > 0
    assert read.figure > 0
