"""Rows of usage, as operators see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.api.replies.absences import Absent, absences
from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.order import Member


class UsageRow(TypedDict):
    """One key's usage on one day (UTC, "2027-01-31"); `key_id` is null for callers without a key of the store.

    A pixel-step is one pixel painted in one step.
    """

    id: str
    object: Literal["usage"]
    day: str
    tenant: str
    key_id: str | None
    requests: int
    images: int
    pixel_steps: int


class UsageList(ListPage):
    """A page, newest day first; pass `last_id` as `after` for the next page. Usage on `missing` gateways is not
    included."""

    data: list[UsageRow]
    missing: list[Absent]


def usage_list(
    found: Sequence[tuple[str, UsageKey, Used]], missing: Sequence[Member | None], *, has_more: bool
) -> UsageList:
    """A page of rows, each with its id, as a JSON object."""
    rows = [_row(*one) for one in found]
    return {
        "object": "list",
        "data": rows,
        **ends([one["id"] for one in rows], has_more=has_more),
        "missing": absences(missing),
    }


def _row(row_id: str, key: UsageKey, used: Used) -> UsageRow:
    return {
        "id": row_id,
        "object": "usage",
        "day": key.day,
        "tenant": key.tenant,
        "key_id": key.key_id or None,
        "requests": used.requests,
        "images": used.images,
        "pixel_steps": used.pixel_steps,
    }
