"""Takes deliveries of webhooks, gives the replies that their tenant sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from sdxl_gateway.api.replies.pages import ListPage, ends
from sdxl_gateway.core.webhook import Delivery


class DeliveryCard(TypedDict):
    """An event for one receiver; times are unix seconds, `subject` is the id of what it is about.

    `id` is the `webhook-id` of every attempt; `last_status` and `last_error` are what came of the latest one.
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
    """A page of deliveries, the latest first; `last_id` is what the next page's `after` says."""

    data: list[DeliveryCard]


class WebhookSecret(TypedDict):
    """What a tenant's receivers verify with; `secrets` are all that sign now, the latest first."""

    object: Literal["webhook.secret"]
    tenant: str
    secrets: list[str]


def delivery_card(delivery: Delivery) -> DeliveryCard:
    """As its tenant sees it."""
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
    """One page."""
    return {
        "object": "list",
        "data": [delivery_card(delivery) for delivery in page],
        **ends([one.id for one in page], has_more=has_more),
    }


def webhook_secret(tenant: str, secrets: Sequence[str]) -> WebhookSecret:
    """As operators hand them on."""
    return {"object": "webhook.secret", "tenant": tenant, "secrets": [*secrets]}
