"""Order: what is to be done once at every gateway of a fleet, also at one that hears of it later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ERASE_TENANT = "erase tenant"
WEBHOOK_SIGNING = "webhook secret"
ROLLOUT = "rollout"
STANDING = frozenset({WEBHOOK_SIGNING, ROLLOUT})
"""What was said last of these kinds of orders holds for good, also for a gateway that joins later."""


@dataclass(frozen=True, slots=True)
class Order:
    """To do what `kind` says to `subject`; `by` is the gateway that was asked, `at` unix seconds, `value` JSON."""

    id: str
    kind: str
    subject: str
    by: str
    at: float
    value: dict[str, Any] = field(default_factory=dict)

    def concerns(self, joined: float, oldest: float) -> bool:
        """A gateway that joined then and forgets what is older than `oldest` is to do it."""
        return self.kind in STANDING or self.at >= max(joined, oldest)


@dataclass(frozen=True, slots=True)
class Member:
    """A gateway of the fleet, as it said last that it is there, in unix seconds."""

    id: str
    host: str
    seen: float


def absent(member: Member | None) -> dict[str, Any]:
    """How a reply names a gateway that it lacks; nulls for all but the one that was asked."""
    if member is None:
        return {"gateway": None, "host": None, "seen": None}
    return {"gateway": member.id, "host": member.host, "seen": int(member.seen)}
