"""The port through which gateways share orders; knows nothing of Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from sdxl_gateway.core.order import Member, Order

Owing = Callable[[str], Awaitable[Collection[str]]]
"""The tenants that a gateway, by its id, was ordered to erase and has not erased yet."""


async def nobody(_: str) -> Collection[str]:
    """The Owing of gateways that have nothing to erase."""
    return ()


class OrderMirror(Protocol):
    """Shares the orders that every gateway is to carry out, and their outcomes.

    Every method raises Unavailable while the shared state cannot be reached.
    """

    gateway: str
    """The id of this gateway."""
    kept_seconds: float
    """Outcomes are kept for so long."""

    async def look(self) -> str | None:
        """Report that this gateway is there; a word that changes with each order, None where everything was lost."""
        ...

    async def orders(self) -> Sequence[Order]:
        """All orders that are shared."""
        ...

    async def tell(self, orders: Sequence[Order]) -> None:
        """Share these orders with all gateways."""
        ...

    async def forget(self, order_ids: Sequence[str]) -> None:
        """Stop sharing these orders."""
        ...

    async def tell_outcomes(self, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
        """Report that this gateway carried out the orders of these ids, with the outcome of each."""
        ...

    async def outcomes(self, order_id: str) -> Mapping[str, Mapping[str, Any]]:
        """The outcomes of an order, by the ids of the gateways that carried it out."""
        ...

    async def done(self, order_ids: Sequence[str], gateway: str) -> Collection[str]:
        """Those of these orders that the gateway carried out, as far as their outcomes are still kept."""
        ...

    async def members(self) -> Sequence[Member]:
        """The gateways that reported lately that they are there, this one included."""
        ...
