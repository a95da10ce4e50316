"""Takes the address of the list of what was used, gives whose and which page of it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from sdxl_gateway.accounts.usage_table import UsageKey
from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.storage.pages import unknown_after

USAGE_QUERY = {**PAGE_QUERY, "tenant": {"type": "string"}, "key_id": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class UsageAsk:
    """At most `limit` rows behind `after`, of one tenant or one key if that is said."""

    limit: int
    after: UsageKey | None
    tenant: str | None
    key_id: str | None

    @classmethod
    def of(cls, request: Request) -> UsageAsk:
        """As the address says. Raises InvalidRequest."""
        page, asked = Page.of(request), request.query_params
        after = None if page.after is None else _key(page.after)
        return cls(page.limit, after, asked.get("tenant"), asked.get("key_id"))


def usage_id(key: UsageKey) -> str:
    """What `after` says; neither a day nor a key's id holds a slash."""
    return f"{key.day}/{key.tenant}/{key.key_id}"


def _key(after: str) -> UsageKey:
    day, first, rest = after.partition("/")
    tenant, second, key_id = rest.rpartition("/")
    if not (first and second):
        raise unknown_after(after)
    return UsageKey(day, tenant, key_id)
