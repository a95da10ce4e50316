"""What a gateway is asked of the batches of all, and what it is told; knows nothing of redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.storage.pages import Cut


class BatchMirror(Protocol):
    """Carries how batches stand from each gateway to the others. Everything raises Unavailable while it cannot be."""

    async def tell(self, batches: Sequence[Batch]) -> None:
        """How batches of this gateway stand now."""
        ...

    async def told_over(self) -> Mapping[str, float]:
        """The batches of this gateway of which others know that they are over, and since when, in unix seconds."""
        ...

    async def find(self, batch_id: str) -> Batch | None:
        """The batch of that id, as its gateway told of it last."""
        ...

    def listed(self, tenant: str | None, cut: Cut) -> AsyncIterator[Batch]:
        """Other gateways' batches of a tenant, or of all, behind that place, in order; `limit` is not looked at."""
        ...

    async def ask_to_cancel(self, batch_id: str) -> None:
        """Tell the gateway that has it."""
        ...

    async def to_cancel(self) -> Sequence[str]:
        """The batches that others ask this gateway to cancel."""
        ...

    async def is_cancelled(self, batch_id: str) -> None:
        """It need not be asked for any more."""
        ...

    async def forget(self, batch_ids: Collection[str]) -> None:
        """Nothing is known of these any more."""
        ...
