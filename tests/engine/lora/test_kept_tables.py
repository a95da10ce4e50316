"""A merge table is reused for the same blend, and never for data that moved or was overwritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pytest
import torch
from torch import Tensor

from sdxl_gateway.core.recipe import NO_BLEND
from sdxl_gateway.engine.lora import fused
from sdxl_gateway.engine.lora.formats import Adapter, adapter_of, lay_out
from sdxl_gateway.engine.lora.fused import KEPT_TABLES
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.lora.recent import Recent
from sdxl_gateway.engine.lora.table import merge_table
from sdxl_gateway.engine.memory.ledger import VRAM
from tests.engine.lora.kit import Bench, MakeBench, Shelf, blend, lora, same_bits

triton_merge = pytest.importorskip("sdxl_gateway.engine.lora.triton_merge", reason="Triton is for Linux alone")

Q = "unet.attentions.0.to_q"
K = "unet.attentions.0.to_k"
TEXT = "text_encoder.text_model.encoder.layers.0"
A, B = (("aa", 0.8),), (("bb", 0.8),)
DORA = (("dd", 0.7),)


@pytest.fixture
def alike(shelf: Shelf) -> Shelf:
    """Two files of one layout with different scales, and a DoRA."""
    for digest, alpha in ("aa", 2.0), ("bb", 3.0):
        shelf.add(digest, [(module, "lora", _half(alpha)) for module in (Q, TEXT)])
    shelf.add("dd", [(K, "lora", lora(32, 64) | {"dora_scale": torch.rand(32, 1) + 0.5})])
    return shelf


def _half(alpha: float) -> dict[str, Tensor]:
    return {role: tensor.half() for role, tensor in lora(32, 32, 8, alpha).items()}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes in bytes of all tables that are made."""
    found: list[int] = []

    def counting(*given: object, **named: object) -> object:
        table = merge_table(*given, **named)  # type: ignore[arg-type]
        found.append(table.words.nbytes)
        return table

    monkeypatch.setattr(fused, "merge_table", counting)
    return found


@pytest.fixture
def bench(alike: Shelf, make_bench: MakeBench) -> Bench:
    made: Bench = make_bench(dtype=torch.float16, kernel=triton_merge.launch)
    return made


@pytest.fixture
def alone(alike: Shelf, make_bench: MakeBench) -> Callable[..., Mapping[str, Tensor]]:
    """The bits of a blend in a fresh engine."""

    def bits(*parts: tuple[str, float]) -> Mapping[str, Tensor]:
        fresh: Bench = make_bench(dtype=torch.float16, kernel=triton_merge.launch)
        fresh.switcher.put_on(blend(*parts))
        return fresh.bits()

    return bits


Alone = Callable[..., Mapping[str, Tensor]]


def test_blends_that_take_turns_make_no_table_twice(bench: Bench, alone: Alone, made: list[int]) -> None:
    """With equal weights, other weights, both together, a DoRA, and no blend in between."""
    blends = (A, B, (("aa", 0.5),), (*A, *B), DORA)
    expected = [alone(*parts) for parts in blends]
    for turn in range(2):
        made.clear()
        for parts, bits in zip(blends, expected, strict=True):
            bench.switcher.put_on(NO_BLEND)
            bench.switcher.put_on(blend(*parts))
            assert same_bits(bench.bits(), bits)
        assert bool(made) == (turn == 0)


def test_they_are_known_by_the_layers_that_are_written(bench: Bench, alone: Alone, made: list[int]) -> None:
    """Layers that stay changed are not written, so the same blend needs another table after another blend."""
    expected = alone(*A, *DORA)
    for before in NO_BLEND, blend(*A), blend(*DORA), blend(*A):
        bench.switcher.put_on(before)
        bench.switcher.put_on(blend(*A, *DORA))
        assert same_bits(bench.bits(), expected)


def test_an_adapter_that_lies_where_another_lay(bench: Bench, alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both in the same memory, which is filled for the one in use."""
    files = {digest: read_factors(lay_out(bench.shelf.open(digest)), pinned=False) for digest in ("aa", "bb")}
    place = torch.empty(files["aa"].size_bytes, dtype=torch.uint8)

    def use(digest: str) -> Adapter:
        file = files[digest]
        place.copy_(file.memory.pieces[0])
        return adapter_of(file.layout, place, file.alpha_values)

    expected = alone(*A), alone(*B)
    monkeypatch.setattr(bench.cache, "use", use)
    for _ in range(3):
        for parts, bits in zip((A, B), expected, strict=True):
            bench.switcher.put_on(blend(*parts))
            assert same_bits(bench.bits(), bits)


def test_an_adapter_that_left_and_came_back(alike: Shelf, make_bench: MakeBench, alone: Alone, made: list[int]) -> None:
    """It is evicted and read again, and its former memory is overwritten by others."""
    size_bytes = make_bench().cache.use("aa").size_bytes
    bench = make_bench(dtype=torch.float16, kernel=triton_merge.launch, vram_bytes=20 * size_bytes, host_bytes=0)
    expected, gone = (alone(*A), alone(*B)), []
    for _ in range(2):
        for parts, bits in zip((A, B), expected, strict=True):
            bench.switcher.put_on(blend(*parts))
            assert same_bits(bench.bits(), bits)
            gone.append(bench.cache.use(parts[0][0]).buffer)
            bench.ledger.shrink(VRAM, size_bytes)
            gone[-1].zero_()
    assert len({buffer.data_ptr() for buffer in gone}) == 4


def test_pristine_copies_that_moved(bench: Bench, alone: Alone, made: list[int]) -> None:
    expected = alone(*A)
    bench.switcher.put_on(blend(*A))
    for layer in bench.switcher._layers.values():
        if layer.pristine is not None:
            before, layer.pristine = layer.pristine, layer.pristine.clone()
            before.fill_(7.0)
    bench.switcher.put_on(NO_BLEND)
    made.clear()
    bench.switcher.put_on(blend(*A))
    assert made
    assert same_bits(bench.bits(), expected)


def test_gains_that_were_forgotten(bench: Bench, alone: Alone, made: list[int]) -> None:
    expected = alone(*DORA)
    bench.switcher.put_on(blend(*DORA))
    gains = list(bench.cache._dense.values())
    for key in list(bench.cache._dense):
        bench.cache._forget_dense(key)
    for tensor in gains:
        tensor.fill_(7.0)
    bench.switcher.put_on(NO_BLEND)
    bench.switcher.put_on(blend(*DORA))
    assert gains
    assert same_bits(bench.bits(), expected)


def test_only_the_last_few_are_kept(bench: Bench, made: list[int]) -> None:
    weights = [0.1 * (1 + number) for number in range(KEPT_TABLES + 1)]
    for weight in (*weights, *weights[1:], weights[0]):
        bench.switcher.put_on_unet(blend(("aa", weight)))
    assert len(made) == len(weights) + 1, "the first one went, for the last"


def test_what_was_asked_for_least_recently_goes_first() -> None:
    recent: Recent[str, str] = Recent(2)
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    assert [recent.of(key, partial(make, key)) for key in "abacab"] == list("ABACAB")
    assert made == list("abcb")
