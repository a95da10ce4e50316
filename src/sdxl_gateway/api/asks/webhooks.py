"""Reads and checks the URL of a webhook's receiver."""

from __future__ import annotations

from typing import Any

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.values import text
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.egress.egress import checked
from sdxl_gateway.egress.errors import EgressRefused

WEBHOOK_URL = Field(
    "webhook_url",
    Kind.TEXT,
    "The address to call when the job ends; only for requests with `Prefer: respond-async`.",
    max_chars=2048,
    extension=True,
)


def read_webhook_url(value: Any, param: str) -> str:
    """An http(s) URL without a user. What it resolves to is only checked on delivery. Raises InvalidRequest."""
    url = text(WEBHOOK_URL, value, param).strip()
    try:
        checked(url)
    except EgressRefused as why:
        raise InvalidRequest(f"Invalid '{param}': {why}.", param=param) from None
    return url
