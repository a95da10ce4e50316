"""A ReviewStore that also lists, reads and decides the reviews of other gateways, at the gateway that has them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from typing import Any

from sdxl_gateway.core.errors import Gone, NotFound, WrongState
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.gateway.fleet.lists import Filters, FleetList
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.pages import Cut
from sdxl_gateway.storage.review_table import Review, ReviewState
from sdxl_gateway.storage.reviews import ReviewStore, unknown
from sdxl_gateway.storage.seal import Seal

PICTURE, DECIDE, APPEAL = "reviews: picture", "reviews: decide", "reviews: appeal"
PIECE_BYTES = 48 * 1024
"""Pictures are passed between gateways in pieces of this size."""


class FleetReviews(ReviewStore):
    """The ReviewStore of a gateway that shares. Its methods raise Unavailable when a gateway that does not answer may
    have the review; a decision that was sent to it may have been made all the same."""

    def __init__(self, database: Database, blobs: Blobs, seal: Seal, questions: Questions, images: KeptImages) -> None:
        """`images` keeps the pictures under review here."""
        super().__init__(database, blobs, seal)
        self._questions = questions
        self._images = images
        self._list = FleetList(questions, "reviews", self._page_here, self._find_here, _heard)
        questions.follow(PICTURE, self._picture_here)
        questions.follow(DECIDE, self._decide_here)
        questions.follow(APPEAL, self._appeal_here)

    async def find(self, review_id: str, tenant: str | None = None) -> Review:
        """As ReviewStore, at any gateway."""
        found = await self._list.find(review_id, tenant=tenant)
        if found is None:
            raise unknown(review_id)
        return found

    async def page_everywhere(
        self, cut: Cut, tenant: str | None = None, state: ReviewState | None = None
    ) -> Listed[Review]:
        """As ReviewStore, of all gateways."""
        return await self._list.page(cut, tenant=tenant, state=state)

    async def picture(self, review: Review) -> bytes:
        """As ReviewStore, at any gateway."""
        if await self._is_here(review.id):
            return await super().picture(review)
        pieces = await self._questions.whoever(PICTURE, {"id": review.id})
        if not pieces:
            raise Gone("The review's picture is not there any more.")
        return b"".join(base64.b64decode(piece) for piece in pieces)

    async def decide(self, review_id: str, *, approve: bool, note: str = "") -> Review:
        """As ReviewStore, at the gateway that has it, which also withdraws what is rejected."""
        if await self._is_here(review_id):
            return await super().decide(review_id, approve=approve, note=note)
        said = {"id": review_id, "approve": approve, "note": note}
        return _outcome(review_id, await self._questions.whoever(DECIDE, said))

    async def appeal(self, review_id: str, tenant: str, text: str) -> Review:
        """As ReviewStore, at the gateway that has it."""
        if await self._is_here(review_id, tenant):
            return await super().appeal(review_id, tenant, text)
        said = {"id": review_id, "tenant": tenant, "text": text}
        return _outcome(review_id, await self._questions.whoever(APPEAL, said))

    async def _is_here(self, review_id: str, tenant: str | None = None) -> bool:
        return await self._find_here(review_id, {"tenant": tenant}) is not None

    async def _find_here(self, review_id: str, filters: Filters) -> Review | None:
        with suppress(NotFound):
            return await super().find(review_id, filters["tenant"])
        return None

    async def _page_here(self, cut: Cut, filters: Filters) -> tuple[list[Review], bool]:
        return await self.page(cut, filters["tenant"], filters["state"])

    async def _picture_here(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        found = await self._find_here(value["id"], {"tenant": None})
        if found is None:
            return
        with suppress(Gone):
            for piece in _pieces(await super().picture(found)):
                yield piece

    async def _decide_here(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        if await self._is_here(value["id"]):
            yield await _told(self._decided(value))

    async def _appeal_here(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        if await self._is_here(value["id"], value["tenant"]):
            yield await _told(super().appeal(value["id"], value["tenant"], value["text"]))

    async def _decided(self, value: Mapping[str, Any]) -> Review:
        review = await super().decide(value["id"], approve=value["approve"], note=value["note"])
        if not value["approve"] and review.image is not None:
            with suppress(NotFound):
                await self._images.delete(review.image, review.tenant)
        return review


def _pieces(data: bytes) -> list[str]:
    """The data in pieces of base64."""
    starts = range(0, len(data), PIECE_BYTES)
    return [base64.b64encode(data[start : start + PIECE_BYTES]).decode("ascii") for start in starts]


async def _told(changing: Awaitable[Review]) -> tuple[str | None, Sequence[Any] | None]:
    """The reason why nothing was changed, or the fields of the review as it stands now."""
    try:
        return None, astuple(await changing)
    except WrongState as problem:
        return problem.message, None


def _outcome(review_id: str, answer: Sequence[Any]) -> Review:
    """The review in an answer. Raises NotFound for an empty one, WrongState when nothing was changed."""
    if not answer:
        raise unknown(review_id)
    problem, fields = answer[0]
    if problem is not None:
        raise WrongState(problem)
    return _heard(fields)


def _heard(fields: Sequence[Any]) -> Review:
    review = Review(*fields)
    return replace(review, categories=tuple(review.categories), state=ReviewState(review.state))
