"""The port through which gateways report their batches to each other; knows nothing of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.shared.outcome import Outcome
from sdxl_gateway.storage.pages import Cut


@dataclass(frozen=True, slots=True)
class Loose:
    """An unfinished batch whose `gateway` is gone, which owned it under that token."""

    id: str
    gateway: str
    token: int


@dataclass(frozen=True, slots=True)
class BatchSight:
    """The unfinished batches that this gateway owns, each with its token, and those of gateways that are gone."""

    owned: Mapping[str, int]
    loose: Sequence[Loose]


class BatchMirror(Protocol):
    """Shares the state of batches among gateways, and hands the batches of a gateway that is gone to another.

    Tokens decide who owns a batch, as with jobs (job_mirror.py). Every method raises Unavailable while the shared state
    cannot be reached, except `owns`.
    """

    max_lines_bytes: int
    """The requests of a batch are not shared if they are larger."""

    async def tell(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """Report how batches of this gateway stand; the outcome of each, LACKING where its requests are not shared."""
        ...

    async def keep_lines(self, batch_id: str, lines: bytes | None) -> None:
        """Share the requests of a batch of this gateway, or report with None that they are too large to be shared."""
        ...

    async def lines_of(self, batch_id: str) -> bytes | None:
        """The batch's requests, if they are shared."""
        ...

    async def has_lines(self, batch_id: str) -> bool:
        """Whether the batch's requests are shared."""
        ...

    async def told_over(self) -> Mapping[str, float]:
        """This gateway's finished batches that were reported, each with when it was, in unix seconds."""
        ...

    async def find(self, batch_id: str) -> Batch | None:
        """The batch of that id, as its gateway reported it last."""
        ...

    def listed(self, tenant: str | None, cut: Cut, *, ours: bool = False) -> AsyncIterator[Batch]:
        """Other gateways' batches, or `ours`, of a tenant or of all, in the order of `cut`, from its place on; its
        `limit` is ignored."""
        ...

    async def ask_to_cancel(self, batch_id: str) -> None:
        """Ask the gateway that owns the batch, now or later, to cancel it."""
        ...

    async def look(self) -> BatchSight:
        """The unfinished batches that are this gateway's, or nobody's."""
        ...

    async def take(self, loose: Loose) -> bool:
        """Make this gateway the owner; False where its gateway is back, or another one was faster."""
        ...

    async def owns(self, batch: Batch) -> bool:
        """Whether this gateway still owns the batch; assumed while the shared state cannot be reached."""
        ...

    async def has_moved(self, batch: Batch) -> bool:
        """Whether the gateway that took the batch over has reported it, and so has it on its disk."""
        ...

    async def forget(self, batch_ids: Collection[str]) -> None:
        """Remove everything that is shared of these batches."""
        ...
