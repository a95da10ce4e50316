"""Reads the query of the usage list: the page, and whose usage."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from sdxl_gateway.accounts.usage_table import UsageKey
from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.storage.pages import unknown_after

USAGE_QUERY = {**PAGE_QUERY, "tenant": {"type": "string"}, "key_id": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class UsageAsk:
    """At most `limit` rows behind `after`, of one tenant or one key if given."""

    limit: int
    after: UsageKey | None
    tenant: str | None
    key_id: str | None

    @classmethod
    def of(cls, request: Request) -> UsageAsk:
        """Read the query. Raises InvalidRequest."""
        page, asked = Page.of(request), request.query_params
        after = None if page.after is None else _key(page.after)
        return cls(page.limit, after, asked.get("tenant"), asked.get("key_id"))


def usage_id(key: UsageKey) -> str:
    """A row's id, as used in `after`; neither days nor keys' ids contain a slash."""
    return f"{key.day}/{key.tenant}/{key.key_id}"


def _key(after: str) -> UsageKey:
    day, first, rest = after.partition("/")
    tenant, second, key_id = rest.rpartition("/")
    if not (first and second):
        raise unknown_after(after)
    return UsageKey(day, tenant, key_id)
