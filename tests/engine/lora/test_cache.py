"""Cache tiers: what is kept where, what is evicted first, and that memory only affects time, never a weight."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from sdxl_gateway.config import Memory
from sdxl_gateway.core.errors import AdapterRefused, DoesNotFit, EngineFault
from sdxl_gateway.core.events import AdapterEvicted, AdapterLoaded
from sdxl_gateway.core.ports import DeviceLost
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.formats import Adapter, AdapterFile, lay_out
from sdxl_gateway.engine.lora.reading import Factors
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM, WEIGHTS_HOST, ledger_budgets
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from sdxl_gateway.engine.memory.offload import HostMemory
from sdxl_gateway.scheduling.memory_plan import UNLIMITED_BYTES, Wanted, plan_memory
from sdxl_gateway.scheduling.weight_sizes import Sizes
from tests.engine.lora.kit import CPU, Bench, MakeBench, Shelf, blend, lora, same_bits

Q, TE = "unet.attentions.0.to_q", "text_encoder.text_model.encoder.layers.0"


@pytest.fixture
def three(shelf: Shelf) -> int:
    """Three adapters aa, bb, cc of equal size; that size in bytes."""
    for digest in ("aa", "bb", "cc"):
        dora = lora(32, 32) | {"dora_scale": torch.rand(32, 1) + 0.5}
        shelf.add(digest, [(Q, "lora", lora(32, 32)), (TE, "lora", dora)])
    return lay_out(shelf.open("aa")).size_bytes


def sources(bench: Bench) -> list[tuple[str, str]]:
    return [(event.digest, event.source) for event in bench.told if isinstance(event, AdapterLoaded)]


def evictions(bench: Bench) -> list[tuple[str, str]]:
    return [(event.digest, event.tier) for event in bench.told if isinstance(event, AdapterEvicted)]


def fetch(bench: Bench, *digests: str) -> None:
    bench.cache.prefetch(digests).result(timeout=30)


def test_an_adapter_is_told_by_the_tier_it_was_found_in(three: int, make_bench: MakeBench) -> None:
    bench = make_bench(vram_bytes=2 * three, host_bytes=3 * three)
    fetch(bench, "aa", "bb")
    bench.cache.release(["aa", "bb"])
    fetch(bench, "cc")
    fetch(bench, "bb", "aa")
    assert sources(bench) == [("aa", "disk"), ("bb", "disk"), ("cc", "disk"), ("bb", "vram"), ("aa", "host")]
    assert evictions(bench) == [("aa", VRAM)]
    assert bench.cache.warm() == {VRAM: ("bb", "cc"), HOST: ("aa", "bb", "cc")}, "all of VRAM is pinned"


def test_the_least_recently_used_goes_first_and_pinned_ones_stay(three: int, make_bench: MakeBench) -> None:
    bench = make_bench(vram_bytes=2 * three, host_bytes=2 * three)
    fetch(bench, "aa", "bb")
    bench.cache.release(["bb"])
    fetch(bench, "cc")
    assert bench.cache.warm() == {VRAM: ("aa", "cc"), HOST: ("aa", "cc")}
    assert sorted(evictions(bench)) == [("bb", HOST), ("bb", VRAM)]
    bench.cache.release(["aa", "cc"])
    bench.cache.use("aa")
    fetch(bench, "bb")
    assert set(bench.cache.warm()[VRAM]) == {"aa", "bb"}


def test_room_decides_about_time_only(three: int, make_bench: MakeBench) -> None:
    """One byte of VRAM or of host memory, room for one adapter, room for all: the same switches give the same bits."""
    budgets = [(1, 2**30), (2**30, 1), (three, three), (three, 2**30), (2**30, 2**30)]
    plan = [(("aa", 0.5),), (("aa", 0.5), ("bb", 1.0)), (("bb", -1.0), ("cc", 0.3)), (("aa", 0.5),), ()]
    for stacked in (False, True):
        benches = [make_bench(vram_bytes=v, host_bytes=h, stacked=stacked) for v, h in budgets]
        for parts in plan:
            for bench in benches:
                bench.switcher.put_on(blend(*parts))
            assert all(same_bits(bench.bits(), benches[0].bits()) for bench in benches)


def test_more_pinned_than_fits_is_served_all_the_same(three: int, make_bench: MakeBench) -> None:
    bench, roomy = make_bench(vram_bytes=three, host_bytes=three), make_bench()
    fetch(bench, "aa", "bb", "cc")
    for digest in ("aa", "bb", "cc"):
        bench.switcher.put_on(blend((digest, 1.0)))
        roomy.switcher.put_on(blend((digest, 1.0)))
        assert same_bits(bench.bits(), roomy.bits())
    assert bench.ledger.held_bytes(VRAM) <= three
    assert bench.ledger.held_bytes(HOST) <= three


def test_what_no_tier_could_ever_hold_does_not_fit(three: int, make_bench: MakeBench) -> None:
    bench = make_bench(vram_bytes=three - 1, host_bytes=three - 1)
    with pytest.raises(DoesNotFit):
        fetch(bench, "aa")
    before = bench.bits()
    with pytest.raises(DoesNotFit):
        bench.switcher.put_on(blend(("aa", 1.0)))
    assert same_bits(bench.bits(), before)
    assert sources(bench) == [("aa", "refused"), ("aa", "refused")]


def test_a_refused_file_is_told_and_leaves_nothing_behind(shelf: Shelf, three: int, make_bench: MakeBench) -> None:
    broken = lora(32, 32)
    broken["up"][3, 1] = float("nan")
    shelf.add("nan", [(Q, "lora", broken)])
    bench = make_bench()
    future = bench.cache.prefetch(["aa", "nan"])
    with pytest.raises(AdapterRefused, match="not finite"):
        future.result(timeout=30)
    bench.cache.release(["aa", "nan"])
    assert sources(bench) == [("aa", "disk"), ("nan", "refused")]
    assert bench.cache.warm() == {VRAM: ("aa",), HOST: ("aa",)}


def test_an_adapter_wanted_twice_at_once_is_read_once(shelf: Shelf, three: int) -> None:
    opened: list[str] = []
    reading, go_on = Event(), Event()

    def slowly(digest: str) -> AdapterFile:
        opened.append(digest)
        reading.set()
        assert go_on.wait(30)
        return shelf.open(digest)

    cache = AdapterCache(slowly, Ledger({VRAM: 2**20, HOST: 2**20}), CPU, lambda _: None, readers=2)
    with ThreadPoolExecutor(1) as pool:
        prefetched = cache.prefetch(["aa"])
        assert reading.wait(30)
        used = pool.submit(cache.use, "aa")
        go_on.set()
        prefetched.result(timeout=30)
        assert used.result(timeout=30) is cache.use("aa")
    assert opened == ["aa"]
    cache.close()
    assert cache.warm() == {VRAM: (), HOST: ()}


def test_dense_deltas_take_only_room_nobody_else_wants(three: int, make_bench: MakeBench) -> None:
    bench = make_bench(vram_bytes=three)
    fetch(bench, "aa")
    bench.switcher.put_on(blend(("aa", 1.0)))
    assert bench.ledger.held_bytes(VRAM) == three, "the dense delta of the text encoder's DoRA found no room"
    bench = make_bench(vram_bytes=three + 3 * 32 * 32 * 4)
    bench.switcher.put_on(blend(("aa", 1.0)))
    assert bench.ledger.held_bytes(VRAM) == three + 3 * 32 * 32 * 4, "two pristine copies and one dense delta"
    bench.switcher.put_on(blend(("bb", 1.0)))
    assert bench.cache.warm()[VRAM] == ("aa", "bb"), "the dense delta made room, being the longest unused"
    assert bench.ledger.held_bytes(VRAM) == 2 * three + 2 * 32 * 32 * 4


def test_pristine_copies_live_where_there_is_room(three: int, make_bench: MakeBench) -> None:
    tight, roomy = make_bench(vram_bytes=1), make_bench()
    for bench in tight, roomy:
        before = bench.bits()
        bench.switcher.put_on(blend(("aa", 1.0)))
        bench.switcher.put_on(blend())
        assert same_bits(bench.bits(), before)
    copies = 2 * 32 * 32 * 4
    assert (tight.ledger.held_bytes(VRAM), tight.ledger.held_bytes(PRISTINE_HOST)) == (0, copies)
    assert roomy.ledger.held_bytes(PRISTINE_HOST) == 0
    roomy.switcher.close()
    roomy.cache.close()
    tight.switcher.close()
    assert roomy.ledger.held_bytes(VRAM) == 0
    assert tight.ledger.held_bytes(PRISTINE_HOST) == 0


def test_pristine_copies_asked_for_in_host_memory_go_there(three: int, make_bench: MakeBench) -> None:
    bench = make_bench(pristine="host")
    before = bench.bits()
    bench.switcher.put_on(blend(("aa", 1.0)))
    assert bench.ledger.held_bytes(PRISTINE_HOST) == 2 * 32 * 32 * 4
    bench.switcher.put_on(blend())
    assert same_bits(bench.bits(), before)


def test_pristine_copies_asked_for_on_a_full_device_do_not_fit(three: int, make_bench: MakeBench) -> None:
    bench = make_bench(pristine="device", vram_bytes=1)
    before = bench.bits()
    with pytest.raises(DoesNotFit):
        bench.switcher.put_on(blend(("aa", 1.0)))
    assert same_bits(bench.bits(), before)
    assert bench.switcher.text_mix == ()


@pytest.mark.parametrize(("fault", "kept"), [(torch.OutOfMemoryError("full"), ("aa",)), (RuntimeError("driver"), ())])
def test_a_copy_to_the_device_that_fails_is_not_on_the_books(
    three: int, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, fault: Exception, kept: tuple[str, ...]
) -> None:
    """If the device's memory is in use by others, the factors in host memory are used."""

    def failing(factors: Factors, device: torch.device) -> Adapter:
        raise fault

    bench = make_bench()
    with monkeypatch.context() as patch:
        patch.setattr(Factors, "on", failing)
        future = bench.cache.prefetch(["aa"])
        assert isinstance(future.exception(timeout=30), type(None) if "full" in str(fault) else EngineFault)
    assert bench.cache.warm() == {VRAM: (), HOST: kept}
    assert bench.ledger.held_bytes(VRAM) == 0
    bench.switcher.put_on(blend(("aa", 1.0)))
    assert bench.cache.warm()[VRAM] == ("aa",)


def test_without_any_room_for_its_factors_a_blend_does_not_fit(
    three: int, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(factors: Factors, device: torch.device) -> Adapter:
        raise torch.OutOfMemoryError("full")

    bench = make_bench(vram_bytes=1)
    before = bench.bits()
    with monkeypatch.context() as patch:
        patch.setattr(Factors, "on", failing)
        with pytest.raises(DoesNotFit, match="no room left"):
            bench.switcher.put_on(blend(("aa", 1.0)))
    assert same_bits(bench.bits(), before)
    bench.switcher.put_on(blend(("aa", 1.0)))


def test_a_copy_to_a_full_device_takes_the_room_of_what_nobody_needs(
    three: int, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    fetch(bench, "aa", "bb")
    bench.cache.release(["aa"])
    inner = Factors.on

    def on(factors: Factors, device: torch.device) -> Adapter:
        if "aa" in bench.cache.warm()[VRAM]:
            raise torch.OutOfMemoryError("full")
        return inner(factors, device)

    monkeypatch.setattr(Factors, "on", on)
    fetch(bench, "cc")
    assert bench.cache.warm()[VRAM] == ("bb", "cc")
    assert bench.ledger.held_bytes(VRAM) == 2 * three


def test_a_device_lost_while_reading_is_told_as_lost(
    three: int, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(factors: Factors, device: torch.device) -> Adapter:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Factors, "on", failing)
    with pytest.raises(DeviceLost):
        fetch(make_bench(), "aa")


def test_a_pristine_copy_that_finds_no_room_in_truth_goes_to_host_memory(
    three: int, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    before = bench.bits()
    tried: list[Tensor] = []

    def full(tensor: Tensor, **named: Any) -> Tensor:
        tried.append(tensor)
        raise torch.OutOfMemoryError("full")

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "clone", full)
        bench.switcher.put_on(blend(("aa", 1.0)))
    copies = 2 * 32 * 32 * 4
    assert bench.ledger.held_bytes(PRISTINE_HOST) == copies
    assert bench.ledger.held_bytes(PRISTINE_VRAM) == 0
    assert not any("pristine" in str(key) for key in bench.ledger.keys(VRAM))
    assert len(tried) == 1, "and the next ones go there at once"
    bench.switcher.put_on(blend())
    assert same_bits(bench.bits(), before)
    bench.switcher.close()
    assert bench.ledger.held_bytes(PRISTINE_HOST) == 0


def test_a_pristine_copy_that_finds_no_room_anywhere_is_not_on_the_books(
    three: int, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> Tensor:
        raise torch.OutOfMemoryError("full")

    bench = make_bench()
    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "clone", full)
        patch.setattr(HostMemory, "piece", full)
        with pytest.raises(torch.OutOfMemoryError):
            bench.switcher.put_on(blend(("aa", 1.0)))
    assert {tier: bench.ledger.held_bytes(tier) for tier in (PRISTINE_VRAM, PRISTINE_HOST)} == dict.fromkeys(
        (PRISTINE_VRAM, PRISTINE_HOST), 0
    )
    assert not any(bench.ledger.pinned(("pristine", "", name)) for name in (Q, f"{TE}.0"))


def test_pristine_copies_take_no_more_of_the_device_than_they_may(three: int, make_bench: MakeBench) -> None:
    one = 32 * 32 * 4
    bench = make_bench(pristine_bytes=one)
    before = bench.bits()
    bench.switcher.put_on(blend(("aa", 1.0)))
    assert (bench.ledger.held_bytes(PRISTINE_VRAM), bench.ledger.held_bytes(PRISTINE_HOST)) == (one, one)
    bench.switcher.put_on(blend())
    assert same_bits(bench.bits(), before)


def test_a_file_that_is_gone_is_refused(shelf: Shelf, three: int, make_bench: MakeBench) -> None:
    Path(shelf.open("aa").path).unlink()
    with pytest.raises(AdapterRefused, match="cannot be read"):
        make_bench().cache.use("aa")


def test_budgets_are_the_operators_or_a_share_of_what_is_free() -> None:
    plan = plan_memory(Sizes(0, 0, 0, 0, 0, 0), UNLIMITED_BYTES, Wanted())
    asked = ledger_budgets(Memory(vram_budget_bytes=5, host_budget_bytes=7), CPU, plan, 400)
    assert asked == {VRAM: 5, HOST: 7, PRISTINE_VRAM: None, PRISTINE_HOST: None, WEIGHTS_HOST: None}
    shares = ledger_budgets(Memory(), CPU, plan, 400)
    assert (shares[VRAM], shares[HOST]) == (100, 100)
