"""Decides after an attempt whether its delivery is finished, or when to retry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sdxl_gateway.core.days import DAY_SECONDS
from sdxl_gateway.core.webhook import Delivery, DeliveryState

GONE = 410
LONGEST_SECONDS = 3 * DAY_SECONDS
"""Deliveries fail after this time."""
DELAYS_SECONDS = (5.0, 300.0, 1800.0, 2 * 3600.0, 5 * 3600.0, 10 * 3600.0, 14 * 3600.0, 20 * 3600.0, 20 * 3600.0)
"""The delays before the second attempt, the third, ...: those of the Standard Webhooks specification."""
JITTER = 0.2
"""Each delay is shortened by up to this share, so that retries are spread."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A receiver's answer: a status, or why there is none; and its Retry-After in seconds, if any."""

    status: int | None = None
    problem: str | None = None
    retry_after_seconds: float = 0.0

    @property
    def taken(self) -> bool:
        """The receiver has it. A redirect is no answer."""
        return self.status is not None and 200 <= self.status < 300


def settled(delivery: Delivery, answer: Answer, now: float, share: Callable[[], float]) -> Delivery:
    """The delivery after an attempt, which is counted already; `share` returns a number from 0 to 1."""
    told = replace(delivery, status=answer.status, problem=answer.problem, due=None)
    if answer.taken:
        return replace(told, state=DeliveryState.DELIVERED)
    if answer.status == GONE:
        return replace(told, state=DeliveryState.DISABLED)
    if delivery.attempts > len(DELAYS_SECONDS):
        return replace(told, state=DeliveryState.FAILED)
    delay = DELAYS_SECONDS[delivery.attempts - 1] * (1 - JITTER * share())
    due = now + max(delay, min(answer.retry_after_seconds, DAY_SECONDS))
    if due > delivery.asked + LONGEST_SECONDS:
        return replace(told, state=DeliveryState.FAILED)
    return replace(told, due=due)
