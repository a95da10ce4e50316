"""Order: something to be done once at every gateway of a fleet, also at one that was away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ERASE_TENANT = "erase tenant"
WEBHOOK_SIGNING = "webhook secret"
ROLLOUT = "rollout"
STANDING = frozenset({WEBHOOK_SIGNING, ROLLOUT})
"""Kinds of orders of which the latest one applies permanently, also to gateways that join later."""


@dataclass(frozen=True, slots=True)
class Order:
    """Do what `kind` says to `subject`; `by` is the gateway that gave the order, `at` unix seconds, `value` JSON."""

    id: str
    kind: str
    subject: str
    by: str
    at: float
    value: dict[str, Any] = field(default_factory=dict)

    def concerns(self, joined: float, oldest: float) -> bool:
        """Whether a gateway that joined then, and keeps no data older than `oldest`, has to follow it."""
        return self.kind in STANDING or self.at >= max(joined, oldest)


@dataclass(frozen=True, slots=True)
class Member:
    """A gateway of the fleet, and when it last reported (unix seconds)."""

    id: str
    host: str
    seen: float


def absent(member: Member | None) -> dict[str, Any]:
    """How a reply names a gateway whose part is missing; None stands for all gateways but the one that was asked."""
    if member is None:
        return {"gateway": None, "host": None, "seen": None}
    return {"gateway": member.id, "host": member.host, "seen": int(member.seen)}
