from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.lora.kit import Bench, MakeBench, Shelf, bench


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1234)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def make_bench(shelf: Shelf) -> Iterator[MakeBench]:
    """Makes benches over one shelf, whose reader threads end with the test."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(bench(shelf, **options))
        return made[-1]

    yield make
    for one in made:
        one.cache.close()
