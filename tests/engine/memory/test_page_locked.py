"""Page-locked pieces made in advance: a load asks the driver for none, and a step waits for one at most."""

from __future__ import annotations

from collections import Counter
from threading import Semaphore, get_ident

import pytest
import torch
from torch import Tensor

from sdxl_gateway.engine.memory import page_locked
from sdxl_gateway.engine.memory.host_buffer import HostBuffer
from sdxl_gateway.engine.memory.page_locked import PIECE_BYTES, Stock

LORA_BYTES = 200_000_000
PIECES = 12


class Driver:
    """Counts the requests of each thread; a step passes whenever it is told to."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self.steps = Semaphore(0)
        self.full = False

    def lock(self, size_bytes: int) -> Tensor:
        if self.full:
            raise RuntimeError("CUDA error: out of memory")
        self.asked[get_ident()] += 1
        return torch.empty(1, dtype=torch.uint8).expand(size_bytes)

    def step(self) -> None:
        self.steps.acquire()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr(page_locked, "page_locked", made.lock)
    return made


@pytest.fixture
def stock(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Stock:
    made = Stock(driver.step)
    monkeypatch.setattr(page_locked, "stock", made)
    return made


def wait_for(stock: Stock, pieces: int) -> None:
    with stock._changed:
        assert stock._changed.wait_for(lambda: len(stock._ready) == pieces, timeout=60.0)


def test_a_load_asks_the_driver_for_nothing_that_lies_ready(driver: Driver, stock: Stock) -> None:
    stock.keep(PIECES)
    driver.steps.release(3 * PIECES)
    for _ in range(2):
        wait_for(stock, PIECES)
        assert len(HostBuffer.of(LORA_BYTES, pinned=True).pieces) == PIECES
    wait_for(stock, PIECES)
    assert driver.asked[get_ident()] == 0
    assert sum(driver.asked.values()) == 3 * PIECES


def test_what_does_not_lie_ready_is_asked_for_at_once(driver: Driver, stock: Stock) -> None:
    stock.keep(5)
    driver.steps.release(4)
    wait_for(stock, 5)
    assert len(HostBuffer.of(LORA_BYTES, pinned=True).pieces) == PIECES
    assert driver.asked[get_ident()] == PIECES - 5


def test_a_piece_is_locked_to_a_step_and_no_more(driver: Driver, stock: Stock) -> None:
    stock.keep(PIECES)
    for pieces in range(1, PIECES + 1):
        wait_for(stock, pieces)
        assert sum(driver.asked.values()) == pieces
        driver.steps.release()


def test_small_pieces_are_not_of_the_stock(driver: Driver, stock: Stock) -> None:
    stock.keep(1)
    wait_for(stock, 1)
    HostBuffer.of(PIECE_BYTES // 2, pinned=True)
    assert len(stock._ready) == 1


def test_where_no_more_can_be_locked_loads_ask_for_themselves(
    driver: Driver, stock: Stock, caplog: pytest.LogCaptureFixture
) -> None:
    driver.full = True
    stock.keep(PIECES)
    assert stock._thread is not None
    stock._thread.join(60.0)
    assert "can no longer be page-locked" in caplog.text
    driver.full = False
    HostBuffer.of(LORA_BYTES, pinned=True)
    assert driver.asked[get_ident()] == PIECES
