"""Takes what was erased of a tenant's data, gives the reply, which says what stays and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.storage.remembered import Lasting


class Stays(TypedDict):
    """A kind of thing that is not erased."""

    kind: str
    reason: str


class Erased(TypedDict):
    """How many things of each kind are gone, and what stays."""

    object: Literal["tenant.erased"]
    tenant: str
    erased: dict[str, int]
    stays: list[Stays]


def erased(tenant: str, gone: Mapping[str, int], lasting: Sequence[Lasting]) -> Erased:
    """As operators see it."""
    return {
        "object": "tenant.erased",
        "tenant": tenant,
        "erased": dict(gone),
        "stays": [{"kind": one.kind, "reason": one.reason} for one in lasting],
    }
