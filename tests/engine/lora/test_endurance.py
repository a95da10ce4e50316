"""Hundreds of loads, uses and evictions: memory stays flat, the books stay right, the base never changes by a bit."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path

import pytest

from sdxl_gateway.engine.lora.formats import Adapter, lay_out
from sdxl_gateway.engine.vram import HOST, VRAM
from tests.engine.lora.kit import Bench, MakeBench, Shelf, blend, lora, same_bits

FILES, CYCLES, LOOK_EVERY = 50, 500, 50
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
    """Fifty files, room for eight on the device and twelve in host memory."""
    for number in range(FILES):
        shelf.add(f"{number:02}", [(name, "lora", lora(rows, columns, rank=64)) for name, rows, columns in LAYERS])
    size_bytes = lay_out(shelf.open("00")).size_bytes
    return make_bench(vram_bytes=8 * size_bytes, host_bytes=12 * size_bytes)


def resident_bytes() -> int:
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cycle(bench: Bench, dice: random.Random) -> list[Adapter]:
    """One job: prefetch, put on, release; gives the adapters it used."""
    parts = dice.sample(sorted(bench.shelf.files), dice.choice((1, 1, 2, 3)))
    bench.cache.prefetch(parts).result(timeout=30)
    bench.switcher.put_on(blend(*((digest, dice.uniform(-1, 1)) for digest in parts)))
    assert set(parts) <= set(bench.cache.warm()[VRAM])
    used = [bench.cache.use(digest) for digest in parts]
    bench.cache.release(parts)
    return used


def assert_books_are_right(bench: Bench) -> None:
    warm = bench.cache.warm()
    for tier in (VRAM, HOST):
        factors = [key for key in bench.ledger.keys(tier) if isinstance(key, tuple) and key[0] == "factors"]
        assert {str(key[2]) for key in factors} == set(warm[tier]) <= set(bench.shelf.files)
        assert bench.ledger.held_bytes(tier) <= (bench.ledger.budget_bytes(tier) or 0)


def test_memory_and_weights_are_the_same_after_hundreds_of_adapters(small: Bench) -> None:
    base, dice, resident = small.bits(), random.Random(5), []
    for number in range(1, CYCLES + 1):
        cycle(small, dice)
        if number % LOOK_EVERY == 0:
            small.switcher.put_on(blend())
            assert same_bits(small.bits(), base)
            assert_books_are_right(small)
            resident.append(resident_bytes())
    assert resident[-1] <= resident[len(resident) // 2] * GROWTH_LIMIT, f"resident memory grew: {resident}"


def test_a_leak_would_be_seen(small: Bench) -> None:
    """The measure above, shown to work on a cache that lets nothing go."""
    dice, hoard = random.Random(5), list[list[Adapter]]()
    for _ in range(LOOK_EVERY):
        cycle(small, dice)
    before = resident_bytes()
    for _ in range(CYCLES // 4):
        hoard.append(cycle(small, dice))
    assert resident_bytes() > before * GROWTH_LIMIT
