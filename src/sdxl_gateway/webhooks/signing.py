"""Signs deliveries with a tenant's secrets (Standard Webhooks)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime

from standardwebhooks import Webhook

from sdxl_gateway.core.webhook import Delivery

PREFIX = "whsec_"


def secret_of(pepper: bytes, tenant: str, number: int) -> str:
    """The secret of that number, as receivers get it; it is derived, and so stored nowhere."""
    told = f"webhook secret {number} of {tenant}".encode()
    return PREFIX + base64.b64encode(hmac.new(pepper, told, hashlib.sha256).digest()).decode()


def signed_headers(delivery: Delivery, secrets: Iterable[str], now: float) -> dict[str, str]:
    """The headers, with one signature for each valid secret, at the time of this attempt (unix seconds)."""
    at = datetime.fromtimestamp(int(now), UTC)
    return {
        "content-type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(Webhook(secret).sign(delivery.id, at, delivery.body) for secret in secrets),
    }
