"""What is remembered goes when its days are over, each kind by its own; a tenant's goes when it is erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sdxl_gateway.config import Retention
from sdxl_gateway.core.days import DAY_SECONDS
from sdxl_gateway.core.events import Forgotten
from sdxl_gateway.storage.remembered import Lasting, Remembered, Thing

NOW = 1000 * DAY_SECONDS


class FakeStore:
    """Remembers one thing a day of each of two tenants."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.things = [(tenant, NOW - day * DAY_SECONDS) for day in range(50) for tenant in ("art", "ops")]

    def _left(self, left: list[tuple[str, float]]) -> int:
        gone, self.things = len(self.things) - len(left), left
        return gone

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        return [{"at": at} for whose, at in self.things if whose == tenant]

    async def erase(self, tenant: str) -> int:
        return self._left([thing for thing in self.things if thing[0] != tenant])

    async def forget_before(self, unix_seconds: float) -> int:
        return self._left([thing for thing in self.things if thing[1] >= unix_seconds])


async def lines(tenant: str) -> AsyncIterator[dict[str, Any]]:
    yield {"tenant": tenant}


async def test_each_kind_by_its_own_days() -> None:
    told: list[Forgotten] = []
    stores = [FakeStore(kind) for kind in ("prompts", "jobs", "files", "other")]
    retention = Retention(prompts_days=10, jobs_days=1.5, inputs_days=None)
    remembered = Remembered(stores, (), retention, told.append, lambda: NOW)
    for _ in range(2):
        await remembered.sweep()
    assert told == [Forgotten("prompts", 78), Forgotten("jobs", 96)]
    assert [len(store.things) for store in stores] == [22, 4, 100, 100]
    remembered.retention = Retention(inputs_days=0.5)
    await remembered.sweep()
    assert len(stores[2].things) == 2


def test_what_goes_with_another_kind_and_what_stays() -> None:
    days = Retention(results_days=1, jobs_days=2, usage_days=3, inputs_days=4)
    kinds = ("idempotency", "images", "webhooks", "batches", "usage", "files", "other")
    assert [days.days(kind) for kind in kinds] == [1, 1, 2, 2, 3, 4, None]


async def test_a_tenants_is_exported_and_erased_and_nobody_elses() -> None:
    stores = [FakeStore("prompts"), FakeStore("jobs"), FakeStore("jobs")]
    lasting = Lasting("audit", "It stays.", lines)
    remembered = Remembered(stores, [lasting], Retention(), lambda _: None, lambda: NOW)
    found = [thing async for thing in remembered.export("art")]
    assert [found[0], found[-1]] == [Thing("prompts", {"at": NOW}), Thing("audit", {"tenant": "art"})]
    assert len(found) == 151
    assert await remembered.erase("art") == {"prompts": 50, "jobs": 100}
    assert [thing.kind async for thing in remembered.export("art")] == ["audit"]
    assert len([thing async for thing in remembered.export("ops")]) == 151
