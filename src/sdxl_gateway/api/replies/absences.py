"""Takes gateways that did not answer, gives what replies that are of all gateways say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from typing_extensions import TypedDict

from sdxl_gateway.core.order import Member, absent


class Absent(TypedDict):
    """A gateway of several that did not answer, when it was last heard of (unix seconds); nulls for all others."""

    gateway: str | None
    host: str | None
    seen: int | None


def absences(missing: Sequence[Member | None]) -> list[Absent]:
    """One for each, None standing for all others."""
    return [cast(Absent, absent(one)) for one in missing]
