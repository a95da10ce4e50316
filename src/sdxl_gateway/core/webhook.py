"""Delivery: an event for a receiver of webhooks, as it is stored until long after it was delivered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

ID_HEX = 32


class DeliveryState(StrEnum):
    """The states of a delivery: to be tried (again), or finished."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one receiver; times are unix seconds. All attempts have the same `id`.

    `subject` is the id of the object of the event, such as a job, and `host` is the receiver's. `asked` is when its
    delivery was requested, first or again. `status` and `problem` are of the latest attempt; `due` is when the next one
    is. `trace` is the `traceparent` of the object.
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
    """The end of the ids of a delivery and of its event, the same for the same event of the same object."""
    return hashlib.sha256(f"{event}\0{subject}".encode()).hexdigest()[:ID_HEX]
