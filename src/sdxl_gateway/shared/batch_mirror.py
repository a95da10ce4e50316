"""What a gateway is asked of the batches of all, and what it is told; knows nothing of redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.shared.mirror import Outcome
from sdxl_gateway.storage.pages import Cut


@dataclass(frozen=True, slots=True)
class Loose:
    """A batch that is not over, of a `gateway` that is gone, which had it under that token."""

    id: str
    gateway: str
    token: int


@dataclass(frozen=True, slots=True)
class BatchSight:
    """Of batches that are not over: those of this gateway with their tokens, and those of gateways that are gone."""

    owned: Mapping[str, int]
    loose: Sequence[Loose]


class BatchMirror(Protocol):
    """Carries how batches stand from each gateway to the others, and batches from one that is gone to another.
    Everything raises Unavailable while it cannot be."""

    max_lines_bytes: int
    """Requests of a batch that are larger do not lie there."""

    async def tell(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """How batches of this gateway stand now: what became of each; LACKING are its requests."""
        ...

    async def keep_lines(self, batch_id: str, lines: bytes | None) -> None:
        """The requests of a batch of this gateway; None where they are too large, and so are not asked for again."""
        ...

    async def lines_of(self, batch_id: str) -> bytes | None:
        """The requests, where they lie there."""
        ...

    async def has_lines(self, batch_id: str) -> bool:
        """They do."""
        ...

    async def told_over(self) -> Mapping[str, float]:
        """The batches of this gateway of which others know that they are over, and since when, in unix seconds."""
        ...

    async def find(self, batch_id: str) -> Batch | None:
        """The batch of that id, as its gateway told of it last."""
        ...

    def listed(self, tenant: str | None, cut: Cut, *, ours: bool = False) -> AsyncIterator[Batch]:
        """Other gateways' batches of a tenant, or of all, or `ours`, behind that place, in order; `limit` is not looked
        at."""
        ...

    async def ask_to_cancel(self, batch_id: str) -> None:
        """Tell the gateway that has it, or will have it."""
        ...

    async def look(self) -> BatchSight:
        """Whose those are that are not over."""
        ...

    async def take(self, loose: Loose) -> bool:
        """It is this gateway's now; not where its gateway is there again, or another took it."""
        ...

    async def owns(self, batch: Batch) -> bool:
        """Nobody has taken it over; so it is taken to be while there is nothing to ask."""
        ...

    async def has_moved(self, batch: Batch) -> bool:
        """The gateway that took it over has told of it, and so has it on its disk."""
        ...

    async def forget(self, batch_ids: Collection[str]) -> None:
        """Nothing is known of these any more."""
        ...
