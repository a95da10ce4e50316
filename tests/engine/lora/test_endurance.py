"""Hundreds of loads, uses and evictions: memory does not grow, the ledger stays right, the base never changes."""

from __future__ import annotations

import ctypes
import gc
import os
import random
from pathlib import Path

import pytest

from sdxl_gateway.engine.lora.formats import Adapter, lay_out
from sdxl_gateway.engine.memory.ledger import HOST, VRAM
from tests.engine.lora.kit import Bench, MakeBench, Shelf, blend, lora, same_bits

FILES, LOOK_EVERY = 50, 20
GROWTH_LIMIT = 1.02
STATM = Path("/proc/self/statm")
LAYERS = (
    ("unet.attentions.0.to_q", 32, 32),
    ("unet.attentions.1.ff", 64, 32),
    ("unet.conv1", 64, 288),
    ("text_encoder_2.text_model.encoder.layers.1", 64, 32),
)

pytestmark = pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")


@pytest.fixture
def small(shelf: Shelf, make_bench: MakeBench) -> Bench:
    """Fifty files, with room for eight on the device and twelve in host memory."""
    for number in range(FILES):
        shelf.add(f"{number:02}", [(name, "lora", lora(rows, columns, rank=64)) for name, rows, columns in LAYERS])
    size_bytes = lay_out(shelf.open("00")).size_bytes
    return make_bench(vram_bytes=8 * size_bytes, host_bytes=12 * size_bytes)


def resident_bytes() -> int:
    """This process's resident memory, after freed memory that the C library still holds was returned to the system."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Jobs:
    """One job after another: the next one's adapters are fetched while this one's blend is applied."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._dice = random.Random(5)
        self._parts = self._next()

    def run_one(self) -> list[Adapter]:
        """Run a job; the adapters it used."""
        bench, parts = self._bench, self._parts
        self._parts = self._next()
        bench.switcher.put_on(blend(*((digest, self._dice.uniform(-1, 1)) for digest in parts)))
        assert set(parts) <= set(bench.cache.warm()[VRAM])
        used = [bench.cache.use(digest) for digest in parts]
        bench.cache.release(parts)
        return used

    def _next(self) -> list[str]:
        parts = self._dice.sample(sorted(self._bench.shelf.files), self._dice.choice((1, 1, 2, 3)))
        self.fetched = self._bench.cache.prefetch(parts)
        return parts


def assert_books_are_right(bench: Bench) -> None:
    warm = bench.cache.warm()
    for tier in (VRAM, HOST):
        factors = [key for key in bench.ledger.keys(tier) if isinstance(key, tuple) and key[0] == "factors"]
        assert {str(key[2]) for key in factors} == set(warm[tier]) <= set(bench.shelf.files)
        assert bench.ledger.held_bytes(tier) <= (bench.ledger.budget_bytes(tier) or 0)


@pytest.mark.parametrize("cycles", [120, pytest.param(500, marks=pytest.mark.full)])
def test_memory_and_weights_are_the_same_after_hundreds_of_adapters(small: Bench, cycles: int) -> None:
    base, jobs, resident = small.bits(), Jobs(small), []
    for number in range(1, cycles + 1):
        jobs.run_one()
        if number % LOOK_EVERY == 0:
            jobs.fetched.result(timeout=30)
            small.switcher.put_on(blend())
            assert same_bits(small.bits(), base)
            assert_books_are_right(small)
            resident.append(resident_bytes())
    assert resident[-1] <= resident[len(resident) // 2] * GROWTH_LIMIT, f"resident memory grew: {resident}"


def test_a_leak_would_be_seen(small: Bench) -> None:
    """The measurement above detects a cache that never frees anything."""
    jobs, hoard = Jobs(small), dict[int, Adapter]()
    for _ in range(LOOK_EVERY):
        jobs.run_one()
    before = resident_bytes()
    while sum(adapter.size_bytes for adapter in hoard.values()) < before * 3 * (GROWTH_LIMIT - 1):
        hoard |= {id(adapter): adapter for adapter in jobs.run_one()}
    assert resident_bytes() > before * GROWTH_LIMIT
