"""A Remembered that exports a tenant's data from every gateway, and has it erased at every gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from sdxl_gateway.config import Retention
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.events import Acted
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.order import ERASE_TENANT, Order, absent
from sdxl_gateway.core.ports import TenantStore
from sdxl_gateway.gateway.fleet.orders import Orders
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.storage.remembered import Erasure, Lasting, Remembered, Thing

EXPORT = "export tenant"
MISSING = "missing"
"""The kind of the export's entries that name a gateway whose data is missing."""
SAME_EVERYWHERE = frozenset({"keys"})

EraseElsewhere = Callable[[str], Awaitable[None]]
"""Removes what gateways that are gone have of a tenant, so that nobody takes it over. Raises Unavailable."""


class FleetRemembered(Remembered):
    """The Remembered of a gateway that shares. What is stored between an order to erase and its doing goes too."""

    def __init__(
        self,
        stores: Sequence[TenantStore],
        lasting: Sequence[Lasting],
        retention: Retention,
        tell: Listener,
        orders: Orders,
        questions: Questions,
        erase_elsewhere: Sequence[EraseElsewhere],
    ) -> None:
        super().__init__(stores, lasting, retention, tell)
        self._hear = tell
        self._orders = orders
        self._questions = questions
        self._erase_elsewhere = tuple(erase_elsewhere)
        questions.follow(EXPORT, self._own)
        orders.follow(ERASE_TENANT, self._erase_as_asked)

    async def export(self, tenant: str) -> AsyncIterator[Thing]:
        """As Remembered, of all gateways; an entry of the kind `MISSING` names each that does not answer."""
        async for thing in super().export(tenant):
            yield thing
        try:
            async for member, part in self._questions.others(EXPORT, {"tenant": tenant}):
                if part is None:
                    yield Thing(MISSING, absent(member))
                for kind, data in part or ():
                    yield Thing(kind, data)
        except Unavailable:
            yield Thing(MISSING, absent(None))

    async def erase_everywhere(self, tenant: str, actor: Caller) -> Erasure:
        """As Remembered. Raises Unavailable when this gateway cannot do it now; the order is kept, and done later."""
        outcome = await self._orders.give(ERASE_TENANT, tenant, {"tenant": actor.tenant, "key": actor.key_id})
        together = Counter[str]()
        for gone in outcome.at.values():
            together.update(gone or {})
        return Erasure(dict(together), outcome.at)

    async def _own(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        """This gateway's own data, without what is the same at every gateway."""
        async for thing in super().export(value["tenant"]):
            if thing.kind not in SAME_EVERYWHERE:
                yield thing.kind, thing.data

    async def _erase_as_asked(self, order: Order) -> Mapping[str, Any]:
        """Only the gateway that was asked erases what gateways that are gone have shared: one that gets the order
        days later would remove newer data. There the endpoint itself reports who asked."""
        was_asked = order.by == self._orders.gateway
        for erase_elsewhere in self._erase_elsewhere if was_asked else ():
            await erase_elsewhere(order.subject)
        gone = await self.erase(order.subject)
        if not was_asked:
            actor = Caller(tenant=order.value["tenant"], key_id=order.value["key"])
            self._hear(Acted(actor, order.subject, "tenant.erased", order.subject, about=gone))
        return gone
