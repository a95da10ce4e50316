"""API keys of the store, as operators see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.accounts.keys import Key
from sdxl_gateway.api.replies.pages import ListPage, ends


class KeyCard(TypedDict):
    """An API key, without its secret; times are unix seconds, `successor` is the id of the key that it was rotated to.

    `limits` are the key's own, which apply in addition to its tenant's.
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
    """A newly created key; `key` is the secret itself, shown only this once."""

    key: str


class KeyList(ListPage):
    """A page of keys, oldest first; pass `last_id` as `after` for the next page."""

    data: list[KeyCard]


def key_card(key: Key) -> KeyCard:
    """The key as a JSON object."""
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
    """The key as a JSON object, with the secret `text`."""
    return {**key_card(key), "key": text}


def key_list(page: Sequence[Key], *, has_more: bool) -> KeyList:
    """A page of keys as a JSON object."""
    return {
        "object": "list",
        "data": [key_card(key) for key in page],
        **ends([one.id for one in page], has_more=has_more),
    }
