"""The replies that list stored pictures with their URLs, and confirm their deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.ports import StoredImage


class ImageCard(TypedDict):
    """A stored picture; `url` was signed for this reply, `expires_at` is when the picture itself is deleted.

    Times are unix seconds.
    """

    id: str
    object: Literal["image"]
    created_at: int
    expires_at: int
    bytes: int
    output_format: Annotated[str, Field(json_schema_extra={"enum": ["png", "jpeg", "webp"]})]
    url: str


class ImageList(ListPage):
    """A page of pictures, newest first; pass `last_id` as `after` for the next page."""

    data: list[ImageCard]


class DeletedImage(TypedDict):
    """Confirms that a picture was deleted."""

    id: str
    object: Literal["image"]
    deleted: Literal[True]


def image_card(stored: StoredImage, links: Links) -> ImageCard:
    """The picture as a JSON object, with a newly signed URL."""
    return {
        "id": stored.id,
        "object": "image",
        "created_at": int(stored.created),
        "expires_at": int(stored.expires),
        "bytes": stored.size_bytes,
        "output_format": stored.ext,
        "url": links.to(stored),
    }


def image_list(page: Sequence[StoredImage], links: Links, *, has_more: bool) -> ImageList:
    """A page of pictures as a JSON object."""
    return {
        "object": "list",
        "data": [image_card(stored, links) for stored in page],
        **ends([one.id for one in page], has_more=has_more),
    }


def deleted_image(image_id: str) -> DeletedImage:
    """The reply to a deletion, as OpenAI's."""
    return {"id": image_id, "object": "image", "deleted": True}
