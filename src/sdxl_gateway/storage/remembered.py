"""Takes every store of tenants' data; exports a tenant's, erases it, and deletes what is old enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdxl_gateway.config import Retention
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.days import DAY_SECONDS
from sdxl_gateway.core.events import Forgotten
from sdxl_gateway.core.order import Member
from sdxl_gateway.core.ports import TenantStore

SWEEP_SECONDS = 3600.0

Exported = Callable[[str], AsyncIterator[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Lasting:
    """Data that is exported, but stays when a tenant is erased, for that `reason`."""

    kind: str
    reason: str
    exported: Exported


@dataclass(frozen=True, slots=True)
class Thing:
    """One entry of an export, of that kind."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Erasure:
    """How many things of each kind were erased: at all gateways together, and at each of several; None for a gateway
    that has still to erase its own."""

    gone: Mapping[str, int]
    gateways: Mapping[Member, Mapping[str, int] | None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every gateway has erased its own."""
        return None not in self.gateways.values()


class Remembered:
    """All data of tenants; `stores` of one kind share its days in `retention`, which may be replaced."""

    def __init__(
        self,
        stores: Sequence[TenantStore],
        lasting: Sequence[Lasting],
        retention: Retention,
        tell: Callable[[Forgotten], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = tuple(stores)
        self.lasting = tuple(lasting)
        self.retention = retention
        self._tell = tell
        self._clock = clock

    async def export(self, tenant: str) -> AsyncIterator[Thing]:
        """Everything of a tenant, store by store."""
        for store in self._stores:
            for data in await store.export(tenant):
                yield Thing(store.kind, data)
        for other in self.lasting:
            async for data in other.exported(tenant):
                yield Thing(other.kind, data)

    async def erase(self, tenant: str) -> dict[str, int]:
        """Erase a tenant; how many things of each kind. When a store raises, the others are left to another try."""
        gone: dict[str, int] = {}
        lasting = {one.kind for one in self.lasting}
        for store in (store for store in self._stores if store.kind not in lasting):
            gone[store.kind] = gone.get(store.kind, 0) + await store.erase(tenant)
        return gone

    async def erase_everywhere(self, tenant: str, actor: Caller) -> Erasure:
        """As `erase`, at all gateways if there are several (gateway/fleet/remembered.py); `actor` asked for it."""
        return Erasure(await self.erase(tenant))

    async def sweep(self) -> None:
        """Delete what is older than its kind's days."""
        for store in self._stores:
            days = self.retention.days(store.kind)
            if days is None:
                continue
            count = await store.forget_before(self._clock() - days * DAY_SECONDS)
            if count:
                self._tell(Forgotten(store.kind, count))

    async def sweeping(self) -> None:
        """Sweep once an hour, until this is cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)
