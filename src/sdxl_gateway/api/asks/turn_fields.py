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
            "Whose turn comes first; a key's own class is lowered by it, never raised.",
            choices=PRIORITY_WORDS,
            extension=True,
        ),
        Field(
            "timeout",
            Kind.NUMBER,
            "Seconds after which the picture is worth nothing: a request that cannot be done by then is told at once.",
            low=0.1,
            high=limits.deadline_seconds,
            extension=True,
        ),
        WEBHOOK_URL,
    )
