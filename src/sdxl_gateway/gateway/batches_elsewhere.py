"""The batches of other gateways, as these report them."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.gateway.fleet.lists import first_ones
from sdxl_gateway.shared.batch_mirror import BatchMirror
from sdxl_gateway.storage.batches import unknown
from sdxl_gateway.storage.pages import Cut


class OtherBatches:
    """The batches that `mirror` knows of; without a mirror there are none."""

    def __init__(self, mirror: BatchMirror | None = None) -> None:
        self._mirror = mirror

    async def get(self, batch_id: str, caller: Caller) -> Batch:
        """The tenant's batch, or anybody's for an admin. Raises NotFound, Unavailable."""
        found = None if self._mirror is None else await self._mirror.find(batch_id)
        if found is None or not (caller.admin or found.tenant == caller.tenant):
            raise unknown(batch_id)
        return found

    async def cancel(self, batch: Batch) -> None:
        """Ask its gateway to cancel it. Raises Unavailable."""
        if self._mirror is not None:
            await self._mirror.ask_to_cancel(batch.id)

    async def page(self, tenant: str | None, cut: Cut) -> Sequence[Batch]:
        """The first ones behind that place, and one more than the limit; fewer while the mirror cannot be reached."""
        return [] if self._mirror is None else await first_ones(self._mirror.listed(tenant, cut), cut.limit + 1)

    async def lines_of(self, batch: Batch) -> bytes | None:
        """Its requests, if its gateway shared them. Raises Unavailable."""
        return None if self._mirror is None else await self._mirror.lines_of(batch.id)

    async def check_ours(self, batch: Batch) -> None:
        """Raises Unavailable when another gateway has taken over this batch of ours, and goes on with it."""
        if self._mirror is not None and not await self._mirror.owns(batch):
            raise Unavailable("Another gateway has taken the batch over.")

    async def forget(self, batch_ids: Sequence[str]) -> None:
        """Remove these batches of this gateway from the mirror. Raises Unavailable."""
        if self._mirror is not None:
            await self._mirror.forget(batch_ids)

    async def erase(self, tenant: str, *, ours: bool = False) -> None:
        """As OtherJobs.erase."""
        if self._mirror is not None:
            await self._mirror.forget([batch.id async for batch in self._mirror.listed(tenant, Cut(0), ours=ours)])
