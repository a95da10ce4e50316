"""How replies that cover all gateways report those that did not answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from typing_extensions import TypedDict

from sdxl_gateway.core.order import Member, absent

ABSENCE_HEADERS = {"x-sdxl-gateway-warning": "Present if servers that do not answer may have more entries."}


class Absent(TypedDict):
    """A gateway that did not answer, and when it was last `seen` (unix seconds); all null if none but this answered."""

    gateway: str | None
    host: str | None
    seen: int | None


def absences(missing: Sequence[Member | None]) -> list[Absent]:
    """An entry for each member; None stands for all other gateways."""
    return [cast(Absent, absent(one)) for one in missing]


def absence_header(missing: Sequence[Member | None]) -> dict[str, str]:
    """The warning for callers, who are not told the servers' names; empty if none is missing."""
    if not missing:
        return {}
    return {"x-sdxl-gateway-warning": "Not all servers answer: what they have is not in this list."}
