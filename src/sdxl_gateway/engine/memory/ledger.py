"""Takes claims on memory in bytes, grants them and evicts others to make room: the ledger of all that is resident.

Pure bookkeeping: no tensor, no clock. A tier is a pool with a budget ("vram", "host"); an entry is a key with a cost in
a tier, and the key's first word names its kind of content; a pin protects a key from eviction in every tier, and may be
taken before the key is held.

Invariants (held by tests/engine/memory/test_ledger.py): a tier never holds more than its budget; a pinned entry is
never evicted; what a tier holds is the sum of its entries; the least recently used unpinned entries go first.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from sdxl_gateway.core.container import memory_left_bytes
from sdxl_gateway.core.errors import DoesNotFit

VRAM = "vram"
HOST = "host"
MEMINFO = Path("/proc/meminfo")

OnEvict = Callable[[], None]
NO_PINS: Mapping[Hashable, int] = {}


@dataclass(frozen=True, slots=True)
class _Entry:
    cost_bytes: int
    on_evict: OnEvict | None


class Ledger:
    """Budgets in bytes by tier (None: without limit). Safe to use from several threads.

    `on_evict` callbacks run under the ledger's lock, after the entry has been removed: they drop references and report
    it, and must neither block nor call the ledger.
    """

    def __init__(self, budgets_bytes: Mapping[str, int | None]) -> None:
        self._budgets = dict(budgets_bytes)
        self._least = {tier: (budget or 0) // 2 for tier, budget in self._budgets.items()}
        self._entries: dict[str, OrderedDict[Hashable, _Entry]] = {tier: OrderedDict() for tier in self._budgets}
        self._held = dict.fromkeys(self._budgets, 0)
        self._kinds: dict[str, Counter[str]] = {tier: Counter() for tier in self._budgets}
        self._pins: Counter[Hashable] = Counter()
        self._lock = RLock()

    def hold(
        self,
        tier: str,
        key: Hashable,
        cost_bytes: int,
        on_evict: OnEvict | None = None,
        over: Mapping[Hashable, int] = NO_PINS,
    ) -> tuple[Hashable, ...]:
        """Hold `key` in `tier`, most recently used; gives the keys evicted for it.

        Raises DoesNotFit, with nothing changed, when evicting every unpinned entry would not make room. A key already
        held there is touched and keeps its cost. `over` gives a number of pins, by key, to disregard.
        """
        if cost_bytes < 0:
            raise ValueError("a cost cannot be negative")
        with self._lock:
            if key in self._entries[tier]:
                self.touch(tier, key)
                return ()
            victims = self._victims(tier, cost_bytes, over)
            for victim in victims:
                self._evict(tier, victim)
            self._entries[tier][key] = _Entry(cost_bytes, on_evict)
            self._count(tier, key, cost_bytes)
            return victims

    def shrink(self, tier: str, size_bytes: int) -> tuple[Hashable, ...]:
        """An allocation failed beside what `tier` holds: evict `size_bytes`, and lower the budget to keep them free.

        Gives the keys evicted. Pinned entries stay, and the budget never falls below half of the original one.
        """
        with self._lock:
            held = self._held[tier]
            evicted = self._oldest_unpinned(tier, size_bytes)
            for key in evicted:
                self._evict(tier, key)
            budget, least = self._budgets[tier], max(held - size_bytes, self._held[tier], self._least[tier])
            self._budgets[tier] = least if budget is None else min(budget, least)
            return evicted

    def touch(self, tier: str, key: Hashable) -> None:
        """Mark `key` as most recently used."""
        with self._lock:
            if key in self._entries[tier]:
                self._entries[tier].move_to_end(key)

    def drop(self, tier: str, key: Hashable) -> None:
        """Remove `key`, which its owner has freed, pinned or not; its `on_evict` is not called."""
        with self._lock:
            entry = self._entries[tier].pop(key, None)
            if entry is not None:
                self._count(tier, key, -entry.cost_bytes)

    def pin(self, key: Hashable) -> None:
        """Protect `key` from eviction in every tier; pins are counted."""
        with self._lock:
            self._pins[key] += 1

    def unpin(self, key: Hashable) -> None:
        """Undo one `pin`; without one it does nothing."""
        with self._lock:
            if self._pins[key] <= 1:
                del self._pins[key]
            else:
                self._pins[key] -= 1

    def pinned(self, key: Hashable) -> bool:
        """`key` has pins, whether it is held or not."""
        with self._lock:
            return key in self._pins

    def holds(self, tier: str, key: Hashable) -> bool:
        """`key` is held in `tier`."""
        with self._lock:
            return key in self._entries[tier]

    def keys(self, tier: str) -> tuple[Hashable, ...]:
        """The keys held in `tier`, least recently used first."""
        with self._lock:
            return tuple(self._entries[tier])

    def held_bytes(self, tier: str) -> int:
        """The bytes held in `tier`."""
        with self._lock:
            return self._held[tier]

    def budget_bytes(self, tier: str) -> int | None:
        """The most that `tier` may hold; None when it has no limit."""
        return self._budgets[tier]

    def free_bytes(self, tier: str) -> int | None:
        """Room without evicting anything; None when the tier has no limit."""
        with self._lock:
            budget = self._budgets[tier]
            return None if budget is None else budget - self._held[tier]

    def bytes_by_tier(self) -> dict[str, int]:
        """The bytes held in each tier."""
        with self._lock:
            return dict(self._held)

    def bytes_by_kind(self, tier: str) -> dict[str, int]:
        """The bytes held in `tier`, by the first word of keys, without kinds that hold none."""
        with self._lock:
            return {kind: size_bytes for kind, size_bytes in self._kinds[tier].items() if size_bytes}

    def could_ever_fit(self, tier: str, cost_bytes: int) -> bool:
        """The tier would have room if it were empty."""
        budget = self._budgets[tier]
        return budget is None or cost_bytes <= budget

    def _victims(self, tier: str, cost_bytes: int, over: Mapping[Hashable, int]) -> tuple[Hashable, ...]:
        """The fewest least recently used unpinned keys whose eviction makes room. Raises DoesNotFit."""
        budget = self._budgets[tier]
        if budget is None:
            return ()
        missing = self._held[tier] + cost_bytes - budget
        victims = self._oldest_unpinned(tier, missing, over)
        if missing > sum(self._entries[tier][victim].cost_bytes for victim in victims):
            raise DoesNotFit(f"{cost_bytes} bytes do not fit in the {tier} memory budget of {budget} bytes")
        return victims

    def _oldest_unpinned(
        self, tier: str, size_bytes: int, over: Mapping[Hashable, int] = NO_PINS
    ) -> tuple[Hashable, ...]:
        """The fewest least recently used ones that hold `size_bytes` together, or all there are."""
        keys: list[Hashable] = []
        for key, entry in self._entries[tier].items():
            if size_bytes <= 0:
                break
            if self._pins.get(key, 0) <= over.get(key, 0) and entry.cost_bytes > 0:
                keys.append(key)
                size_bytes -= entry.cost_bytes
        return tuple(keys)

    def _count(self, tier: str, key: Hashable, size_bytes: int) -> None:
        self._held[tier] += size_bytes
        self._kinds[tier][str(key[0] if isinstance(key, tuple) else key)] += size_bytes

    def _evict(self, tier: str, key: Hashable) -> None:
        entry = self._entries[tier].pop(key)
        self._count(tier, key, -entry.cost_bytes)
        if entry.on_evict is not None:
            entry.on_evict()


def available_ram_bytes() -> int:
    """RAM available now without swapping, within the container's limit."""
    left = memory_left_bytes()
    return _free_ram_bytes() if left is None else min(left, _free_ram_bytes())


def _free_ram_bytes() -> int:
    try:
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
