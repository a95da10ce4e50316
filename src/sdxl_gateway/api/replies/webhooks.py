"""Deliveries of webhooks, as their tenant sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.webhook import Delivery


class DeliveryCard(TypedDict):
    """An event for one receiver; times are unix seconds, `subject` is the id of the object it is about.

    `id` is the `webhook-id` of every attempt; `last_status` and `last_error` are the outcome of the latest one.
    """

    id: str
    object: Literal["webhook.delivery"]
    event: str
    subject: str
    url: str
    state: str
    attempts: int
    created_at: int
    last_attempt_at: int | None
    next_attempt_at: int | None
    last_status: int | None
    last_error: str | None


class DeliveryList(ListPage):
    """A page of deliveries, newest first; pass `last_id` as `after` for the next page."""

    data: list[DeliveryCard]


class WebhookSecret(TypedDict):
    """The secrets by which a tenant's receivers verify webhooks; all `secrets` currently sign, newest first."""

    object: Literal["webhook.secret"]
    tenant: str
    secrets: list[str]


def delivery_card(delivery: Delivery) -> DeliveryCard:
    """The delivery as a JSON object."""
    return {
        "id": delivery.id,
        "object": "webhook.delivery",
        "event": delivery.event,
        "subject": delivery.subject,
        "url": delivery.url,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "created_at": int(delivery.created),
        "last_attempt_at": None if delivery.attempted is None else int(delivery.attempted),
        "next_attempt_at": None if delivery.due is None else int(delivery.due),
        "last_status": delivery.status,
        "last_error": delivery.problem,
    }


def delivery_list(page: Sequence[Delivery], *, has_more: bool) -> DeliveryList:
    """A page of deliveries as a JSON object."""
    return {
        "object": "list",
        "data": [delivery_card(delivery) for delivery in page],
        **ends([one.id for one in page], has_more=has_more),
    }


def webhook_secret(tenant: str, secrets: Sequence[str]) -> WebhookSecret:
    """The secrets as a JSON object."""
    return {"object": "webhook.secret", "tenant": tenant, "secrets": [*secrets]}
