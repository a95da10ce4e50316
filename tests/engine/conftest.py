from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.kit.device import paint_exactly
from tests.kit.engine import Studio, studio
from tests.kit.everything import Everything, everything
from tests.kit.features import SPELT
from tests.kit.reference import Reference


@pytest.fixture(autouse=True)
def _one_thread_and_exact() -> None:
    torch.set_num_threads(1)
    paint_exactly()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """An engine on the demo checkpoint, shared by a file's tests."""
    made = studio(tmp_path_factory.mktemp("data"))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def reference(demo: Studio) -> Reference:
    return Reference(demo.folder)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """An engine with models of every kind."""
    made = everything(tmp_path_factory.mktemp("everything"), SPELT)
    yield made
    made.studio.engine.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Studio]:
    """An engine of the test's own, which it may break."""
    made = studio(tmp_path)
    yield made
    made.engine.close()
