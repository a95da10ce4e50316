"""Pages of lists, by the query parameters `limit` and `after`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.values import integer
from sdxl_gateway.storage.pages import unknown_after

USUAL = 20
MOST = 1000

T = TypeVar("T")


def page_query(usual: int = USUAL, most: int = MOST) -> dict[str, dict[str, Any]]:
    """The query parameters of a list, for the OpenAPI document."""
    limit = {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    return {"limit": limit, "after": {"type": "string"}}


PAGE_QUERY = page_query()


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` items, those behind the one with the id `after`."""

    limit: int = USUAL
    after: str | None = None

    @classmethod
    def of(cls, request: Request, usual: int = USUAL, most: int = MOST) -> Page:
        """The page that the query asks for; `usual` is the default limit. Raises InvalidRequest."""
        asked = request.query_params
        limit = Field("limit", Kind.INTEGER, "How many at most.", low=1, high=most)
        return cls(integer(limit, asked.get("limit", usual), "limit"), asked.get("after"))

    def cut(self, items: Sequence[T], id_of: Callable[[T], str]) -> tuple[list[T], bool]:
        """The page, and whether more follow. Raises InvalidRequest for an `after` that is not in the list."""
        start = 0
        if self.after is not None:
            places = {id_of(item): place for place, item in enumerate(items)}
            if self.after not in places:
                raise unknown_after(self.after)
            start = places[self.after] + 1
        return list(items[start : start + self.limit]), len(items) > start + self.limit
