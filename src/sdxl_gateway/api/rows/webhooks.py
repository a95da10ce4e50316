"""Takes the services, gives the rows of the route table about webhooks."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import webhooks
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.rows.paths import only
from sdxl_gateway.api.rows.resource import Row, resource
from sdxl_gateway.api.services import Services

ALL, ONE = "/v1/webhooks/deliveries", "/v1/webhooks/deliveries/{delivery_id}"
SIGNING = "/v1/admin/tenants/{tenant}/webhook_secret"


def webhook_rows(services: Services) -> tuple[Route, ...]:
    """What the caller's receivers were sent, and the secrets for operators."""
    admin, rotate = Access.ADMIN, f"{SIGNING}/rotate"
    own = resource(
        services,
        "webhooks",
        only,
        Row("GET", ALL, webhooks.list_endpoint, "Webhook deliveries, page by page.", webhooks.LIST_DELIVERIES),
        Row("GET", ONE, webhooks.one_endpoint, "One delivery.", webhooks.RETRIEVE_DELIVERY),
        Row("POST", f"{ONE}/replay", webhooks.replay_endpoint, "Send a delivery again.", webhooks.REPLAY_DELIVERY),
    )
    admins = resource(
        services,
        "admin.webhooks",
        only,
        Row(
            "GET",
            SIGNING,
            webhooks.secret_endpoint,
            "The secrets that receivers verify with.",
            webhooks.RETRIEVE_SECRET,
            admin,
        ),
        Row("POST", rotate, webhooks.rotate_endpoint, "Make a new secret.", webhooks.ROTATE_SECRET, admin),
    )
    return *own, *admins
