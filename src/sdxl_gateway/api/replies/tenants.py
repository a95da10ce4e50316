"""The reply to the erasure of a tenant's data, which says what is kept and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.core.order import Member
from sdxl_gateway.storage.remembered import Erasure, Lasting


class Stays(TypedDict):
    """A kind of data that is not erased, and why."""

    kind: str
    reason: str


class ErasedAt(TypedDict):
    """One of the gateways: how many items of each kind it erased, null if it has still to do so.

    `host` is the machine's name, `seen` is when the gateway was last heard of, in unix seconds.
    """

    id: str
    host: str
    seen: int
    erased: dict[str, int] | None


class Erased(TypedDict):
    """How many items of each kind were erased, on all gateways that were reachable; and what is kept."""

    object: Literal["tenant.erased"]
    tenant: str
    erased: dict[str, int]
    gateways: list[ErasedAt]
    stays: list[Stays]


def erased(tenant: str, erasure: Erasure, lasting: Sequence[Lasting]) -> Erased:
    """The erasure as a JSON object."""
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
