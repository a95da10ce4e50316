"""A checkpoint of SDXL's real size loads and paints on a CPU, in the memory of a small machine."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdxl_gateway.catalog.model_files import module_shapes
from tests.kit.bombs import memory_bytes
from tests.kit.engine import contrast, recipe, studio
from tools.full_size_model import write_full_size_file, write_full_size_model

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

GIB = 2**30
UNET_LINEARS = 722
"""Attention, feed-forward and projection layers in the UNet's transformers."""


@contextmanager
def little_memory() -> Iterator[None]:
    """Fails above 12 GiB of this process's memory; mapped files do not count, as the system can drop their pages."""
    most, over = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, memory_bytes("self", "RssAnon"))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
    assert 6 * GIB < most < 12 * GIB


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "sdxl"
    write_full_size_model(made)
    yield made
    shutil.rmtree(made)


def test_full_size_checkpoint(folder: Path, tmp_path: Path) -> None:
    shapes = module_shapes(folder)
    inside = [name for name, shape in shapes.items() if ".attentions." in name and len(shape) == 2]
    assert len(inside) == UNET_LINEARS
    assert 6.9e9 < sum(path.stat().st_size for path in folder.rglob("*.safetensors")) < 7e9
    with little_memory():
        made = studio(tmp_path, folder, dtype="bfloat16")
        assert made.engine.dtype == "bfloat16"
        picture = made.paint(recipe(width=256, height=256, steps=2))
        made.engine.close()
    assert contrast(picture) > 20


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "sdxl.safetensors"
    write_full_size_file(made)
    yield made
    made.unlink()


def test_full_size_single_file_with_nothing_configured(file: Path, tmp_path: Path) -> None:
    with little_memory():
        made = studio(tmp_path, file, dtype="bfloat16")
        picture = made.paint(recipe("a photo of a cat", width=256, height=256, steps=2))
        made.engine.close()
    assert contrast(picture) > 20
