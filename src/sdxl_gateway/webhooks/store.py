"""Stores deliveries of webhooks, for tenants to list and replay, and the numbers of their secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from sdxl_gateway.core.days import DAY_SECONDS
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.order import Order
from sdxl_gateway.core.text import shown
from sdxl_gateway.core.webhook import Delivery
from sdxl_gateway.storage import webhook_table
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.pages import unknown_after
from sdxl_gateway.webhooks.signing import secret_of

GRACE_SECONDS = DAY_SECONDS
"""How long the previous secret still signs after a rotation."""
KEPT_SECONDS = DAY_SECONDS
"""The least time that deliveries are kept, in which the same event of the same object is not sent twice."""
FORGOTTEN_AT_ONCE = 1000
EXPORTED_AT_ONCE = 1000


class WebhookStore:
    """Deliveries in one database, and secrets that are derived from the pepper of `find_pepper`."""

    kind = "webhooks"

    def __init__(
        self, database: Database, find_pepper: Callable[[], bytes], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._find_pepper = find_pepper
        self.clock = clock

    @cached_property
    def _pepper(self) -> bytes:
        return self._find_pepper()

    async def page(self, tenant: str, limit: int, after: str | None = None) -> tuple[list[Delivery], bool]:
        """At most `limit` of the tenant's deliveries, the latest first, and whether more follow.

        Raises InvalidRequest for an `after` that is none of them.
        """
        behind = None if after is None else await self._database.run(_finding(tenant, after))
        if after is not None and behind is None:
            raise unknown_after(after)
        read = partial(webhook_table.page, tenant=tenant, limit=limit + 1, after=behind)
        found = await self._database.run(read)
        return found[:limit], len(found) > limit

    async def find(self, tenant: str, delivery_id: str) -> Delivery:
        """One delivery. Raises NotFound if the tenant has none of that id."""
        return _there(await self._database.run(_finding(tenant, delivery_id)), delivery_id)

    async def replay(self, tenant: str, delivery_id: str) -> Delivery:
        """Send the delivery again under the same id, with the retries of a new one. Raises NotFound."""
        work = partial(webhook_table.replay, tenant=tenant, delivery_id=delivery_id, now=self.clock())
        return _there(await self._database.run(work), delivery_id)

    async def secrets(self, tenant: str) -> list[str]:
        """The secrets that currently sign the tenant's webhooks, the latest first."""
        numbers = await self._database.run(partial(webhook_table.secret_numbers, tenant=tenant, now=self.clock()))
        return [secret_of(self._pepper, tenant, number) for number in numbers]

    async def new_secret(self, tenant: str, grace_seconds: float = GRACE_SECONDS) -> str:
        """A new secret, which signs from now on; the previous one signs too, for so long."""
        now = self.clock()
        work = partial(webhook_table.next_secret, tenant=tenant, now=now, previous_until=now + grace_seconds)
        return secret_of(self._pepper, tenant, await self._database.run(work))

    async def take_secret(self, order: Order) -> Mapping[str, Any]:
        """Apply a `new_secret` of another gateway to this one."""
        await self._database.run(partial(webhook_table.take_secret, tenant=order.subject, **order.value))
        return {}

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's deliveries, without secrets."""
        found = list[Delivery]()
        more = True
        while more:
            some, more = await self.page(tenant, EXPORTED_AT_ONCE, found[-1].id if found else None)
            found.extend(some)
        return [asdict(delivery) for delivery in found]

    async def erase(self, tenant: str) -> int:
        """Delete the tenant's deliveries; how many that were. The number of its secret is kept, as old secrets would
        otherwise become valid again."""
        return await self._database.run(partial(webhook_table.erase, tenant=tenant))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete deliveries that had ended by then, and a day ago; how many that were."""
        total, before = 0, min(unix_seconds, self.clock() - KEPT_SECONDS)
        work = partial(webhook_table.forget, before=before, most=FORGOTTEN_AT_ONCE)
        while found := await self._database.run(work):
            total += found
        return total


def _finding(tenant: str, delivery_id: str) -> Callable[..., Delivery | None]:
    return partial(webhook_table.find, tenant=tenant, delivery_id=delivery_id)


def _there(found: Delivery | None, delivery_id: str) -> Delivery:
    if found is None:
        raise NotFound(f"There is no delivery {shown(delivery_id)}.", code="delivery_not_found")
    return found
