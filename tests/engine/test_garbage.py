"""The garbage collector does not delay steps: objects from before the engine opened are not scanned again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sdxl_gateway.core.garbage import settle
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from tests.engine.lora.kit import CPU, Shelf, lora

LAYERS = 722
LORAS = 24


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@contextmanager
def looked_at() -> Iterator[list[int]]:
    """How many objects each collection scans."""
    found: list[int] = []

    def begins(phase: str, about: dict[str, Any]) -> None:
        if phase == "start":
            found.append(sum(len(gc.get_objects(generation=one)) for one in range(about["generation"] + 1)))

    gc.callbacks.append(begins)
    try:
        yield found
    finally:
        gc.callbacks.remove(begins)


def load_beside_steps(folder: Path) -> None:
    """Load as many LoRAs as a busy server keeps warm, each with as many layers as a full-size one."""
    shelf = Shelf(folder)
    for number in range(LORAS):
        shelf.add(str(number), [(f"unet.{layer}.to_q", "lora", lora(4, 4, rank=1)) for layer in range(LAYERS)])
    cache = AdapterCache(shelf.open, Ledger({VRAM: 2**30, HOST: 2**30}), CPU, lambda _: None)
    x = torch.randn(8, 8)
    for number in range(LORAS):
        reading = cache.prefetch([str(number)])
        while not reading.done():
            x = torch.tanh(x @ x)
        reading.result()
    cache.close()


def test_no_collection_looks_at_much_while_loras_are_loaded(tmp_path: Path) -> None:
    everything = len(gc.get_objects())
    with looked_at() as before:
        gc.collect()
    settle()
    with looked_at() as found:
        load_beside_steps(tmp_path)
    assert before == [pytest.approx(everything, rel=0.2)]
    assert max(found, default=0) < before[0] / 8


def test_what_settled_is_not_looked_at_again() -> None:
    settle()
    with looked_at() as found:
        gc.collect()
    assert found[0] < gc.get_freeze_count() / 10
