"""Takes pictures that left although something was found, keeps each for a person to look at, and what came of it."""

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
"""Reviews kept at a time: a flood of findings fills no disk."""


@dataclass(frozen=True, slots=True)
class NewReview:
    """A picture that left; `data` are its bytes, `image` is what it is kept under for its tenant, if it is."""

    tenant: str
    key_id: str
    job: str
    categories: tuple[str, ...]
    prompt: str
    data: bytes
    ext: str
    image: str | None = None


class ReviewStore:
    """The reviews of one database and one folder; one of another tenant's pictures is as one that is not there."""

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
        """The id under which a person will find it. Raises StorageFull; nothing is left of it then."""
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
        """Of a tenant's picture, or of anybody's. Raises NotFound."""
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
        """The page of all gateways' reviews, where there are others (gateway/fleet/reviews.py)."""
        return Listed(*await self.page(cut, tenant, state))

    async def picture(self, review: Review) -> bytes:
        """Its bytes, as they left. Raises Gone."""
        return await asyncio.to_thread(self._blobs.read, review.blob)

    async def decide(self, review_id: str, *, approve: bool, note: str = "") -> Review:
        """It is over, unless it is appealed against. Raises NotFound, WrongState where it is over already."""
        state = ReviewState.APPROVED if approve else ReviewState.REJECTED
        decided = await self._database.run(
            partial(review_table.decide, review_id=review_id, state=state, note=note, now=self._clock())
        )
        found = await self.find(review_id)
        if not decided:
            raise WrongState(f"The review {shown(review_id)} is {found.state} already.")
        return found

    async def appeal(self, review_id: str, tenant: str, text: str) -> Review:
        """It is to be looked at again. Raises NotFound, WrongState where nothing was rejected, or for a second time."""
        appealed = await self._database.run(
            partial(review_table.appeal, review_id=review_id, tenant=tenant, text=self._sealed(text), now=self._clock())
        )
        found = await self.find(review_id, tenant)
        if not appealed:
            why = "undecided" if found.state in UNDECIDED else f"{found.state}, and not to be appealed against"
            raise WrongState(f"The review {shown(review_id)} is {why}.")
        return found

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """What is remembered of the tenant's pictures, but for their bytes."""
        reviews = await self._database.run(partial(review_table.all_of, tenant=tenant))
        return [_told(self._plain(review)) for review in reviews]

    async def erase(self, tenant: str) -> int:
        """All of the tenant's are gone; how many that were."""
        return await self._dropped(await self._database.run(partial(review_table.remove_of, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """What was begun before is gone, whosever, and blobs that nothing lies in; how many that were."""
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
    """To whoever asks for it."""
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
