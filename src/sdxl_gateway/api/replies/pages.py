"""What the replies that are pages of a list have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict


class Ends(TypedDict):
    """Where a page begins and ends; `last_id` is what the next page's `after` says."""

    first_id: str | None
    last_id: str | None
    has_more: bool


class ListPage(Ends):
    """A page of a list; `data` holds its items."""

    object: Literal["list"]


def ends(ids: Sequence[str], *, has_more: bool) -> Ends:
    """Those of a page of items of these ids."""
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None, "has_more": has_more}
