"""What a gateway is asked of orders to all, and is told; knows nothing of redis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from sdxl_gateway.core.order import Member, Order


class OrderMirror(Protocol):
    """Carries orders from each gateway to the others, and what came of them. Everything raises Unavailable while it
    cannot be."""

    gateway: str
    """This one."""
    kept_seconds: float
    """What came of an order is told for so long."""

    async def look(self) -> str | None:
        """Says that this gateway is there; gives a word that is another after each order, None where all is lost."""
        ...

    async def orders(self) -> Sequence[Order]:
        """Those that were told."""
        ...

    async def tell(self, orders: Sequence[Order]) -> None:
        """These are to be done by everybody."""
        ...

    async def forget(self, order_ids: Sequence[str]) -> None:
        """Nobody hears of these any more."""
        ...

    async def tell_outcomes(self, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
        """This gateway did the orders of these ids."""
        ...

    async def outcomes(self, order_id: str) -> Mapping[str, Mapping[str, Any]]:
        """What came of an order, by gateways that did it."""
        ...

    async def done(self, order_ids: Sequence[str], gateway: str) -> Collection[str]:
        """Those of these orders that the gateway did, as far as that is still known."""
        ...

    async def members(self) -> Sequence[Member]:
        """The gateways that said of late that they are there, this one too."""
        ...
