"""Reviews of pictures, as operators and owners see them."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.replies.absences import Absent, absences
from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.storage.review_table import Review


class ReviewCard(TypedDict):
    """A picture that was delivered, and what was found in it or its prompt; times are unix seconds.

    `state` is "open", "approved", "rejected" or "appealed"; `image` is the stored picture's id, if it was stored.
    """

    id: str
    object: Literal["review"]
    tenant: str
    key_id: str
    job: str
    created_at: int
    categories: list[str]
    prompt: str
    image: str | None
    state: str
    decided_at: int | None
    note: str
    appeal: str
    appealed_at: int | None


class ReviewList(ListPage):
    """A page of reviews, oldest first; pass `last_id` as `after` for the next page."""

    data: list[ReviewCard]


class AllReviewList(ReviewList):
    """A page of all tenants' reviews; those of `missing` gateways are not included."""

    missing: list[Absent]


def review_card(review: Review) -> ReviewCard:
    """The review as a JSON object."""
    return {
        "id": review.id,
        "object": "review",
        "tenant": review.tenant,
        "key_id": review.key_id,
        "job": review.job,
        "created_at": int(review.created),
        "categories": list(review.categories),
        "prompt": review.prompt,
        "image": review.image,
        "state": review.state,
        "decided_at": None if review.decided is None else int(review.decided),
        "note": review.note,
        "appeal": review.appeal,
        "appealed_at": None if review.appealed is None else int(review.appealed),
    }


def all_review_list(found: Listed[Review]) -> AllReviewList:
    """A page of all tenants' reviews, for operators."""
    return {**review_list(found), "missing": absences(found.missing)}


def review_list(found: Listed[Review]) -> ReviewList:
    """A page of reviews as a JSON object."""
    page = found.items
    return {
        "object": "list",
        "data": [review_card(review) for review in page],
        **ends([one.id for one in page], has_more=found.more),
    }
