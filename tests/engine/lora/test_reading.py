"""Files are read once, every byte directly to its final place, whatever they contain and however much a call reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sdxl_gateway.catalog.lora_format.plan import ModulePart
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.formats import FILE_DTYPES, Adapter, lay_out
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.memory import page_locked
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from tests.engine.lora.kit import CPU, Shelf, lora
from tests.kit.cuda_streams import fake_streams

Q = "unet.attentions.0.to_q"
META = torch.device("meta")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain memory in place of page-locked memory, in pieces so small that tensors span several of them."""
    monkeypatch.setattr(page_locked, "page_locked", lambda size: torch.empty(size, dtype=torch.uint8))
    monkeypatch.setattr(page_locked, "PIECE_BYTES", 256)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes that each system call read."""
    found: list[int] = []
    readv = os.readv

    def counting(descriptor: int, views: list[memoryview]) -> int:
        found.append(readv(descriptor, views))
        return found[-1]

    monkeypatch.setattr(os, "readv", counting)
    return found


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """(bytes, from, to, non_blocking, same dtype) of each copy between tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[int, str, str, bool, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.copy_.default:
            target, source, *blocking = args
            alike = target.dtype == source.dtype
            asked = bool(blocking and blocking[0]) or bool((kwargs or {}).get("non_blocking"))
            self.seen.append((target.nbytes, source.device.type, target.device.type, asked, alike))
        return func(*args, **(kwargs or {}))


def everything(adapter: Adapter) -> dict[str, Tensor]:
    return {
        f"{name}.{role}": getattr(factors, role)
        for name, delta in adapter.deltas.items()
        if (factors := delta.low_rank()) is not None
        for role in ("up", "down")
    }


def all_types() -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    """One layer of each format a file may have, with alphas among the factors, and sizes that leave gaps."""
    for number, dtype in enumerate(FILE_DTYPES.values()):
        factors = lora(31 + number, 33, rank=3)
        yield f"unet.layer{number}", "lora", {role: tensor.to(dtype) for role, tensor in factors.items()}


def test_pieces_and_one_piece_hold_the_same(shelf: Shelf, small_pieces: None) -> None:
    shelf.add("aa", all_types())
    layout = lay_out(shelf.open("aa"))
    in_pieces, whole = (read_factors(layout, pinned=pinned) for pinned in (True, False))
    assert len(in_pieces.memory.pieces) > len(FILE_DTYPES)
    one, other = (everything(factors.on(CPU)) for factors in (in_pieces, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert in_pieces.alpha_values == whole.alpha_values


def test_a_file_of_factors_alone_is_one_call(shelf: Shelf, calls: list[int]) -> None:
    layers = [(f"unet.layer{number}", "lora", lora(32, 32)) for number in range(50)]
    for _, _, factors in layers:
        del factors["alpha"]
    shelf.add("aa", layers)
    read_factors(lay_out(shelf.open("aa")), pinned=False)
    assert calls == [8, 50 * 2 * 32 * 4 * 4]


def test_every_byte_that_is_wanted_is_read_once(shelf: Shelf, calls: list[int], small_pieces: None) -> None:
    shelf.add("aa", all_types())
    tensors = shelf.open("aa").tensors
    read_factors(lay_out(shelf.open("aa")), pinned=True)
    assert calls == [8, sum(place.end - place.start for place in tensors.values())]


def test_what_nobody_wants_is_not_read(shelf: Shelf, calls: list[int]) -> None:
    tensors = {"a": torch.ones(32, 32), "b": torch.ones(500, 500), "c": torch.ones(32)}
    shelf.add_file("aa", tensors, [ModulePart(Q, "full", {"diff": "a", "diff_b": "c"})])
    read_factors(lay_out(shelf.open("aa")), pinned=False)
    assert calls == [8, 32 * 32 * 4, 32 * 4]


@pytest.mark.parametrize("most", [1, 7, 100, 1000])
def test_calls_that_give_less_than_was_asked_are_gone_on_with(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    shelf.add("aa", [(Q, "lora", lora(32, 32))])
    layout = lay_out(shelf.open("aa"))
    expected = everything(read_factors(layout, pinned=False).on(CPU))
    readv = os.readv
    monkeypatch.setattr(os, "readv", lambda descriptor, views: readv(descriptor, [views[0][:most]]))
    found = everything(read_factors(layout, pinned=False).on(CPU))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_tensor_in_several_pieces_that_is_not_finite_is_named(shelf: Shelf, small_pieces: None) -> None:
    tensors = lora(32, 32)
    tensors["up"][31, 3] = float("inf")
    shelf.add("aa", [("unet.ff", "lora", lora(32, 32)), (Q, "lora", tensors)])
    with pytest.raises(AdapterRefused, match=rf"{Q}\.up' holds values that are not finite"):
        read_factors(lay_out(shelf.open("aa")), pinned=True)


def test_a_copy_to_the_device_is_one_of_each_piece(shelf: Shelf, small_pieces: None) -> None:
    """None of them converts, and none waits."""
    shelf.add("aa", [(f"unet.layer{number}", "lora", lora(32, 32)) for number in range(4)])
    factors = read_factors(lay_out(shelf.open("aa")), pinned=True)
    with Copies() as copies:
        factors.on(META)
    assert copies.seen == [(256, "cpu", "meta", True, True)] * (factors.size_bytes // 256)


@pytest.mark.parametrize("vram_bytes", [1, 2**20])
def test_an_adapter_is_copied_when_it_is_not_there(shelf: Shelf, vram_bytes: int) -> None:
    """From host memory, as a whole; at each use if the device has no room to keep it."""
    shelf.add("aa", [(f"unet.layer{number}", "lora", lora(32, 32)) for number in range(4)])
    cache = AdapterCache(shelf.open, Ledger({VRAM: vram_bytes, HOST: 2**20}), META, lambda _: None)
    seen = []
    for _ in range(3):
        with Copies() as copies:
            adapter = cache.use("aa")
        assert adapter.buffer.device == META
        seen.append(copies.seen)
    cache.close()
    whole = [(adapter.size_bytes, "cpu", "meta", True, True)]
    assert seen == ([whole, [], []] if vram_bytes > 1 else [whole] * 3)


def test_steps_wait_for_an_adapter_on_the_device_and_never_on_the_host(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_streams(monkeypatch)
    shelf.add("aa", [(Q, "lora", lora(32, 32))])
    cache = AdapterCache(shelf.open, Ledger({VRAM: 2**20, HOST: 2**20}), META, lambda _: None)
    cache.prefetch(["aa"]).result(timeout=30)
    assert log[0] == "copies waits for steps"
    assert log[-1] == "event on copies"
    log.clear()
    for _ in range(2):
        cache.use("aa")
    assert log == ["steps waits for copies"] * 2
    cache.close()
