"""The fields that decide when a request is served, and who is notified."""

from __future__ import annotations

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.webhooks import WEBHOOK_URL
from sdxl_gateway.config import Limits
from sdxl_gateway.core.priority import PRIORITY_WORDS


def turn_fields(limits: Limits) -> tuple[Field, ...]:
    """Rows of the table in fields.py; none of them changes a picture."""
    return (
        Field(
            "priority",
            Kind.CHOICE,
            "The priority class of this request; it can lower the key's own class, never raise it.",
            choices=PRIORITY_WORDS,
            extension=True,
        ),
        Field(
            "timeout",
            Kind.NUMBER,
            "Seconds after which the picture is of no use: a request that cannot be finished by then is refused "
            "at once.",
            low=0.1,
            high=limits.deadline_seconds,
            extension=True,
        ),
        WEBHOOK_URL,
    )
