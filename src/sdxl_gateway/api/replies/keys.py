"""Takes keys of the store, gives the replies that operators see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.accounts.keys import Key
from sdxl_gateway.api.replies.pages import ListPage, ends


class KeyCard(TypedDict):
    """A key, which is never shown again; times are unix seconds, `successor` the id of the key it was rotated to.

    `limits` are those it has beside its tenant's.
    """

    id: str
    object: Literal["key"]
    prefix: str
    name: str
    tenant: str
    roles: list[str]
    models: list[str]
    loras: list[str]
    priority: str
    limits: dict[str, int]
    safety: str | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    successor: str | None
    webhook_url: str | None


class NewKey(KeyCard):
    """A key as it was made; `key` is told this once."""

    key: str


class KeyList(ListPage):
    """A page of the keys, the oldest first; `last_id` is what the next page's `after` says."""

    data: list[KeyCard]


def key_card(key: Key) -> KeyCard:
    """As operators see it."""
    grant = key.grant
    return {
        "id": key.id,
        "object": "key",
        "prefix": key.prefix,
        "name": grant.name,
        "tenant": grant.tenant,
        "roles": sorted(grant.roles),
        "models": list(grant.models),
        "loras": list(grant.loras),
        "priority": grant.priority.word,
        "limits": grant.limits.said,
        "safety": grant.safety,
        "created_at": int(key.created),
        "expires_at": None if grant.expires is None else int(grant.expires),
        "revoked_at": None if key.revoked is None else int(key.revoked),
        "successor": key.successor,
        "webhook_url": grant.webhook_url,
    }


def new_key(text: str, key: Key) -> NewKey:
    """With the key itself."""
    return {**key_card(key), "key": text}


def key_list(page: Sequence[Key], *, has_more: bool) -> KeyList:
    """One page."""
    return {
        "object": "list",
        "data": [key_card(key) for key in page],
        **ends([one.id for one in page], has_more=has_more),
    }
