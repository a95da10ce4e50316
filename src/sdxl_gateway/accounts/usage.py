"""Records what callers use by day, tenant and key: at once in memory, within a second in the database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sdxl_gateway.accounts import usage_table
from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.core.background import written_at_intervals
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.days import day_of
from sdxl_gateway.core.order import Member
from sdxl_gateway.storage.database import Database


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Rows, the newest day first; `missing` are gateways whose part is not in them, None for all others."""

    rows: Sequence[tuple[UsageKey, Used]]
    missing: Sequence[Member | None] = ()


class Usage:
    """Usage in a database (a core TenantStore). What cannot be written stays in memory and is tried again."""

    kind = "usage"

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._unwritten: dict[UsageKey, Used] = {}

    def add(self, caller: Caller, used: Used) -> None:
        """Add to today's usage."""
        key = UsageKey(day_of(self._clock()), caller.tenant, caller.key_id)
        self._unwritten[key] = self._unwritten.get(key, Used()) + used

    async def write(self) -> None:
        """Write to the database. Raises StorageFull, and loses nothing."""
        writing, self._unwritten = self._unwritten, {}
        if not writing:
            return
        try:
            await self._database.run(partial(usage_table.add, used=writing))
        except BaseException:
            for key, used in writing.items():
                self._unwritten[key] = self._unwritten.get(key, Used()) + used
            raise

    async def writing(self) -> None:
        """Write at intervals until this is cancelled, and then once more."""
        await written_at_intervals(self.write)

    async def pixel_steps_today(self) -> list[tuple[str, int]]:
        """By holder, as `holders` names them."""
        taken: Counter[str] = Counter()
        for key, used in (await self._database.run(partial(usage_table.of_day, day=day_of(self._clock())))).items():
            for holder in holders(key.tenant, key.key_id):
                taken[holder] += used.pixel_steps
        return list(taken.items())

    async def page(
        self, limit: int, after: UsageKey | None = None, tenant: str | None = None, key_id: str | None = None
    ) -> list[tuple[UsageKey, Used]]:
        """At most `limit` of those behind `after`, the newest day first."""
        await self.write()
        return await self._database.run(
            partial(usage_table.page, limit=limit, after=after, tenant=tenant, key_id=key_id)
        )

    async def page_everywhere(
        self, limit: int, after: UsageKey | None = None, tenant: str | None = None, key_id: str | None = None
    ) -> UsagePage:
        """As `page`, of all gateways together where there are several (gateway/fleet/usage.py)."""
        return UsagePage(await self.page(limit, after, tenant, key_id))

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """All that is remembered of a tenant."""
        await self.write()
        return await self._database.run(partial(usage_table.of_tenant, tenant=tenant))

    async def erase(self, tenant: str) -> int:
        """Forget a tenant; how many days of how many keys that were. What it may still take today is as before."""
        await self.write()
        return await self._database.run(partial(usage_table.erase, tenant=tenant))

    async def forget_before(self, unix_seconds: float) -> int:
        """Forget all days that were over by then; how many rows that were."""
        return await self._database.run(partial(usage_table.forget_before, day=day_of(unix_seconds)))


def holders(tenant: str, key_id: str) -> tuple[str, ...]:
    """Who a caller's use is counted for: its tenant, and its key if it has one of the store."""
    return (f"tenant {tenant}", f"key {key_id}") if key_id else (f"tenant {tenant}",)
