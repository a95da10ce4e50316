"""Takes what was erased of a tenant's data, gives the reply, which says what stays and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.core.order import Member
from sdxl_gateway.storage.remembered import Erasure, Lasting


class Stays(TypedDict):
    """A kind of thing that is not erased."""

    kind: str
    reason: str


class ErasedAt(TypedDict):
    """A gateway of several: how many things of each kind are gone there, null where it has still to erase them.

    `host` is the machine's name, `seen` when it was last heard of, in unix seconds.
    """

    id: str
    host: str
    seen: int
    erased: dict[str, int] | None


class Erased(TypedDict):
    """How many things of each kind are gone, at all gateways that were there; and what stays."""

    object: Literal["tenant.erased"]
    tenant: str
    erased: dict[str, int]
    gateways: list[ErasedAt]
    stays: list[Stays]


def erased(tenant: str, erasure: Erasure, lasting: Sequence[Lasting]) -> Erased:
    """As operators see it."""
    return {
        "object": "tenant.erased",
        "tenant": tenant,
        "erased": dict(erasure.gone),
        "gateways": [_erased_at(member, gone) for member, gone in erasure.gateways.items()],
        "stays": [{"kind": one.kind, "reason": one.reason} for one in lasting],
    }


def _erased_at(member: Member, gone: Mapping[str, int] | None) -> ErasedAt:
    told = None if gone is None else dict(gone)
    return {"id": member.id, "host": member.host, "seen": int(member.seen), "erased": told}
