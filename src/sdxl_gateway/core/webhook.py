"""Delivery: an event that is to reach a receiver of webhooks, as it is remembered until long after it has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

ID_HEX = 32


class DeliveryState(StrEnum):
    """Where a delivery stands: to be tried (again), or over."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver; times are unix seconds. `id` is the same however often it is sent.

    `subject` is what the event is about, such as a job's id, and `host` the receiver's. `asked` is when somebody wanted
    it sent: at first or again. `status` and `problem` are of the latest attempt; `due` is when the next one is.
    `trace` is the `traceparent` of what it tells of.
    """

    id: str
    tenant: str
    url: str
    host: str
    event: str
    subject: str
    body: str
    created: float
    asked: float
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    due: float | None = None
    attempted: float | None = None
    status: int | None = None
    problem: str | None = None
    trace: str | None = None


def digest_of(subject: str, event: str) -> str:
    """What the ids of a delivery and of its event end with: the same for the same event of the same thing."""
    return hashlib.sha256(f"{event}\0{subject}".encode()).hexdigest()[:ID_HEX]
