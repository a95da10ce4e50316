"""Takes gateways that did not answer, gives what replies that are of all gateways say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from typing_extensions import TypedDict

from sdxl_gateway.core.order import Member, absent

ABSENCE_HEADERS = {"x-sdxl-gateway-warning": "Present where servers that do not answer may have more of the list."}


class Absent(TypedDict):
    """A gateway of several that did not answer, when it was last heard of (unix seconds); nulls for all others."""

    gateway: str | None
    host: str | None
    seen: int | None


def absences(missing: Sequence[Member | None]) -> list[Absent]:
    """One for each, None standing for all others."""
    return [cast(Absent, absent(one)) for one in missing]


def absence_header(missing: Sequence[Member | None]) -> dict[str, str]:
    """What callers are told, who do not hear of servers' names; empty where none is missing."""
    if not missing:
        return {}
    return {"x-sdxl-gateway-warning": "Not all servers answer: what they have is not in this list."}
