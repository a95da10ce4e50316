"""What all pages of lists have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict


class Ends(TypedDict):
    """A page's first and last id; pass `last_id` as `after` for the next page."""

    first_id: str | None
    last_id: str | None
    has_more: bool


class ListPage(Ends):
    """A page of a list; `data` holds its items."""

    object: Literal["list"]


def ends(ids: Sequence[str], *, has_more: bool) -> Ends:
    """The first and last of a page's `ids`, and whether more follow."""
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None, "has_more": has_more}
