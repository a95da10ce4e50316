"""The ledger: never above its budget, pinned entries stay, sums are right, the least recently used go first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.engine.memory import ledger as ledger_module
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger, available_ram_bytes

BUDGETS: dict[str, int | None] = {VRAM: 10, HOST: 25, "unlimited": None}
KEYS = st.sampled_from("abcdefgh")
TIERS = st.sampled_from(sorted(BUDGETS))


class LedgerAgainstAModel(RuleBasedStateMachine):
    """Compares a ledger to a plain list of entries, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(BUDGETS)
        self.budgets = dict(BUDGETS)
        self.entries: dict[str, list[tuple[str, int]]] = {tier: [] for tier in BUDGETS}
        self.pins: Counter[str] = Counter()
        self.evicted: list[tuple[str, str]] = []

    @rule(tier=TIERS, key=KEYS, cost=st.integers(0, 12))
    def hold(self, tier: str, key: str, cost: int) -> None:
        before = list(self.entries[tier])
        self.evicted.clear()
        try:
            victims = self.ledger.hold(tier, key, cost, lambda: self.evicted.append((tier, key)))
        except DoesNotFit:
            budget, pinned = self.budgets[tier], sum(c for k, c in before if k in self.pins)
            assert budget is not None
            assert pinned + cost > budget
            assert key not in dict(before)
            return
        assert not any(victim in self.pins for victim in victims)
        self._assert_oldest(before, victims)
        held = dict(before)
        left = [(k, c) for k, c in before if k not in victims and k != key]
        self.entries[tier] = [*left, (key, held.get(key, cost))]

    def _assert_oldest(self, before: list[tuple[str, int]], victims: tuple[object, ...]) -> None:
        could_go = [k for k, c in before if k not in self.pins and c > 0]
        assert list(victims) == could_go[: len(victims)]

    @rule(tier=TIERS, size=st.integers(0, 12))
    def shrink(self, tier: str, size: int) -> None:
        before, held = list(self.entries[tier]), self.ledger.held_bytes(tier)
        evicted = self.ledger.shrink(tier, size)
        self._assert_oldest(before, evicted)
        gone = sum(cost for key, cost in before if key in evicted)
        unpinned = [key for key, cost in before if key not in self.pins and cost > 0]
        assert gone >= size or list(evicted) == unpinned
        self.entries[tier] = [(key, cost) for key, cost in before if key not in evicted]
        least, budget = max(held - size, held - gone, (BUDGETS[tier] or 0) // 2), self.budgets[tier]
        self.budgets[tier] = least if budget is None else min(least, budget)

    @rule(tier=TIERS, key=KEYS)
    def touch(self, tier: str, key: str) -> None:
        self.ledger.touch(tier, key)
        held = dict(self.entries[tier])
        if key in held:
            self.entries[tier] = [e for e in self.entries[tier] if e[0] != key] + [(key, held[key])]

    @rule(tier=TIERS, key=KEYS)
    def drop(self, tier: str, key: str) -> None:
        self.ledger.drop(tier, key)
        self.entries[tier] = [e for e in self.entries[tier] if e[0] != key]

    @rule(key=KEYS)
    def pin(self, key: str) -> None:
        self.ledger.pin(key)
        self.pins[key] += 1

    @rule(key=KEYS)
    def unpin(self, key: str) -> None:
        self.ledger.unpin(key)
        self.pins[key] -= 1
        self.pins = +self.pins

    @invariant()
    def agrees(self) -> None:
        for tier, entries in self.entries.items():
            assert self.ledger.keys(tier) == tuple(key for key, _ in entries)
            assert self.ledger.held_bytes(tier) == sum(cost for _, cost in entries)
            assert self.ledger.bytes_by_kind(tier) == {key: cost for key, cost in entries if cost}
            budget, free = self.budgets[tier], self.ledger.free_bytes(tier)
            assert (budget is None) == (free is None)
            if budget is not None and free is not None:
                assert 0 <= free == budget - self.ledger.held_bytes(tier)
        assert all(self.ledger.pinned(key) == (key in self.pins) for key in "abcdefgh")


TestLedger = LedgerAgainstAModel.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_owner_of_an_evicted_entry_is_told() -> None:
    ledger, gone = Ledger({VRAM: 10}), []
    ledger.hold(VRAM, "old", 6, lambda: gone.append("old"))
    ledger.hold(VRAM, "new", 4, lambda: gone.append("new"))
    assert ledger.hold(VRAM, "newest", 5) == ("old",)
    assert gone == ["old"]
    ledger.drop(VRAM, "new")
    assert gone == ["old"], "who gives an entry up knows it already"


def test_what_is_held_is_told_by_the_first_word_of_its_key() -> None:
    ledger = Ledger({VRAM: None, HOST: None})
    for key, cost in ((("checkpoint", "demo"), 5), (("factors", "demo", "ink"), 2), (("factors", "demo", "clay"), 1)):
        ledger.hold(VRAM, key, cost)
    assert ledger.bytes_by_kind(VRAM) == {"checkpoint": 5, "factors": 3}
    ledger.drop(VRAM, ("checkpoint", "demo"))
    assert (ledger.bytes_by_kind(VRAM), ledger.bytes_by_kind(HOST)) == ({"factors": 3}, {})


def test_what_found_no_room_is_not_held_again_but_half_of_the_first_budget_stays() -> None:
    ledger = Ledger({VRAM: 20})
    for key in "abcd":
        ledger.hold(VRAM, key, 4)
    ledger.pin("a")
    assert ledger.shrink(VRAM, 3) == ("b",)
    assert (ledger.held_bytes(VRAM), ledger.budget_bytes(VRAM)) == (12, 13)
    assert ledger.shrink(VRAM, 100) == ("c", "d")
    assert (ledger.held_bytes(VRAM), ledger.budget_bytes(VRAM)) == (4, 10)
    assert ledger.shrink(VRAM, 1) == ()
    assert ledger.budget_bytes(VRAM) == 10


def test_what_cannot_fit_changes_nothing() -> None:
    ledger = Ledger({VRAM: 10})
    ledger.hold(VRAM, "a", 4)
    ledger.hold(VRAM, "pinned", 4)
    ledger.pin("pinned")
    with pytest.raises(DoesNotFit):
        ledger.hold(VRAM, "b", 7)
    assert ledger.keys(VRAM) == ("a", "pinned")
    assert ledger.bytes_by_tier() == {VRAM: 8}
    assert ledger.could_ever_fit(VRAM, 10)
    assert not ledger.could_ever_fit(VRAM, 11)


def test_pins_that_do_not_count() -> None:
    ledger = Ledger({VRAM: 10})
    for key, pins in (("painted", 2), ("awaited", 1)):
        ledger.hold(VRAM, key, 5)
        for _ in range(pins):
            ledger.pin(key)
    with pytest.raises(DoesNotFit):
        ledger.hold(VRAM, "new", 5, over={"painted": 1})
    assert ledger.hold(VRAM, "new", 5, over={"painted": 1, "awaited": 1}) == ("awaited",)
    assert ledger.pinned("awaited"), "it was evicted, and is wanted all the same"


def test_a_negative_cost_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="negative"):
        Ledger({VRAM: 1}).hold(VRAM, "a", -1)


def test_available_ram_is_read_from_meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "memory_left_bytes", lambda: None)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 999 kB\nMemAvailable:     123 kB\n")
    monkeypatch.setattr(ledger_module, "MEMINFO", meminfo)
    assert available_ram_bytes() == 123 * 1024
    monkeypatch.setattr(ledger_module, "memory_left_bytes", lambda: 100)
    assert available_ram_bytes() == 100, "of what a container may take"
    monkeypatch.setattr(ledger_module, "memory_left_bytes", lambda: None)
    meminfo.unlink()
    assert available_ram_bytes() > 0
