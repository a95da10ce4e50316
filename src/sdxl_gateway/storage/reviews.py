"""Stores pictures that were handed out although a judge found something, for a person to review, and the decisions."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sdxl_gateway.core.errors import GatewayError, NotFound, WrongState
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage import review_table
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.pages import Cut, unknown_after
from sdxl_gateway.storage.review_table import UNDECIDED, Review, ReviewState
from sdxl_gateway.storage.seal import Seal

ID_PREFIX = "rev_"
ID_BYTES = 12
MOST = 10_000
"""The most reviews that are stored, so that a flood of findings does not fill the disk."""


@dataclass(frozen=True, slots=True)
class NewReview:
    """A picture to review; `data` are its bytes, `image` is its id in the store of pictures, if it is there."""

    tenant: str
    key_id: str
    job: str
    categories: tuple[str, ...]
    prompt: str
    data: bytes
    ext: str
    image: str | None = None


class ReviewStore:
    """Reviews in a database and a store of blobs (a core TenantStore); those of other tenants do not exist."""

    kind = "reviews"

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        seal: Seal,
        *,
        most: int = MOST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._seal = seal
        self._most = most
        self._clock = clock

    async def add(self, new: NewReview) -> str:
        """Store it; its id. Raises StorageFull, and leaves nothing then."""
        blob = await asyncio.to_thread(self._blobs.put, new.data)
        review = Review(
            ID_PREFIX + secrets.token_hex(ID_BYTES),
            new.tenant,
            new.key_id,
            new.job,
            self._clock(),
            new.categories,
            self._sealed(new.prompt),
            new.ext,
            blob,
            new.image,
        )
        try:
            gone = await self._database.run(partial(review_table.insert, review=review, most=self._most))
        except GatewayError:
            await self._dropped([blob])
            raise
        await self._dropped(gone)
        return review.id

    async def find(self, review_id: str, tenant: str | None = None) -> Review:
        """The review of that id, of that tenant if one is given. Raises NotFound."""
        found = await self._database.run(partial(review_table.find, review_id=review_id, tenant=tenant))
        if found is None:
            raise unknown(review_id)
        return self._plain(found)

    async def page(
        self, cut: Cut, tenant: str | None = None, state: ReviewState | None = None
    ) -> tuple[list[Review], bool]:
        """Of a tenant's or of all, and whether more follow. Raises InvalidRequest for an unknown `after`."""
        found = await self._database.run(partial(review_table.one_page, tenant=tenant, state=state, cut=cut))
        if found is None:
            raise unknown_after(cut.after)
        return [self._plain(one) for one in found[0]], found[1]

    async def page_everywhere(
        self, cut: Cut, tenant: str | None = None, state: ReviewState | None = None
    ) -> Listed[Review]:
        """A page of all gateways' reviews, if there are others (gateway/fleet/reviews.py)."""
        return Listed(*await self.page(cut, tenant, state))

    async def picture(self, review: Review) -> bytes:
        """The picture's bytes, as they were handed out. Raises Gone."""
        return await asyncio.to_thread(self._blobs.read, review.blob)

    async def decide(self, review_id: str, *, approve: bool, note: str = "") -> Review:
        """Decide it. Raises NotFound, WrongState when it is decided already."""
        state = ReviewState.APPROVED if approve else ReviewState.REJECTED
        decided = await self._database.run(
            partial(review_table.decide, review_id=review_id, state=state, note=note, now=self._clock())
        )
        found = await self.find(review_id)
        if not decided:
            raise WrongState(f"The review {shown(review_id)} is {found.state} already.")
        return found

    async def appeal(self, review_id: str, tenant: str, text: str) -> Review:
        """Have it reviewed again. Raises NotFound, WrongState when it was not rejected, or was appealed before."""
        appealed = await self._database.run(
            partial(review_table.appeal, review_id=review_id, tenant=tenant, text=self._sealed(text), now=self._clock())
        )
        found = await self.find(review_id, tenant)
        if not appealed:
            why = "undecided" if found.state in UNDECIDED else f"{found.state}, and not to be appealed against"
            raise WrongState(f"The review {shown(review_id)} is {why}.")
        return found

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The reviews of the tenant's pictures, without their bytes."""
        reviews = await self._database.run(partial(review_table.all_of, tenant=tenant))
        return [_told(self._plain(review)) for review in reviews]

    async def erase(self, tenant: str) -> int:
        """Delete all of the tenant's; how many that were."""
        return await self._dropped(await self._database.run(partial(review_table.remove_of, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete older reviews of all tenants, and blobs that no review refers to; how many reviews that were."""
        gone = await self._dropped(await self._database.run(partial(review_table.remove_older, than=unix_seconds)))
        known = await self._database.run(review_table.all_blobs)
        await asyncio.to_thread(self._blobs.sweep, known)
        return gone

    async def _dropped(self, blobs: list[str]) -> int:
        await asyncio.to_thread(self._blobs.delete, *blobs)
        return len(blobs)

    def _sealed(self, text: str) -> str:
        return self._seal.sealed(json.dumps(text))

    def _plain(self, review: Review) -> Review:
        appeal = json.loads(self._seal.plain(review.appeal)) if review.appeal else ""
        return replace(review, prompt=json.loads(self._seal.plain(review.prompt)), appeal=appeal)


def unknown(review_id: str) -> NotFound:
    """The error for a review that does not exist."""
    return NotFound(f"There is no review {shown(review_id)}.", code="review_not_found")


def _told(review: Review) -> dict[str, Any]:
    return {
        "id": review.id,
        "job": review.job,
        "created": review.created,
        "categories": list(review.categories),
        "prompt": review.prompt,
        "state": review.state,
        "decided": review.decided,
        "note": review.note,
        "appeal": review.appeal,
        "appealed": review.appealed,
    }
