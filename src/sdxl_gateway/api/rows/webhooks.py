"""Takes the services, gives the rows of the route table about webhooks."""

from __future__ import annotations

from sdxl_gateway.api.endpoints import webhooks
from sdxl_gateway.api.http.route import Access, Route
from sdxl_gateway.api.services import Services


def webhook_rows(services: Services) -> tuple[Route, ...]:
    """What the caller's receivers were sent, and the secrets for operators."""
    mine, secret = "/v1/webhooks/deliveries", "/v1/admin/tenants/{tenant}/webhook_secret"
    own = (
        ("GET", mine, webhooks.list_endpoint, "What receivers were sent.", webhooks.LIST_DELIVERIES),
        ("GET", mine + "/{delivery_id}", webhooks.one_endpoint, "One delivery.", webhooks.RETRIEVE_DELIVERY),
        ("POST", mine + "/{delivery_id}/replay", webhooks.replay_endpoint, "Send it again.", webhooks.REPLAY_DELIVERY),
    )
    admins = (
        ("GET", secret, webhooks.secret_endpoint, "What receivers verify with.", webhooks.RETRIEVE_SECRET),
        ("POST", secret + "/rotate", webhooks.rotate_endpoint, "Make a new secret.", webhooks.ROTATE_SECRET),
    )
    return (
        *(Route(verb, (path,), made(services), "webhooks", about, told) for verb, path, made, about, told in own),
        *(
            Route(verb, (path,), made(services), "admin.webhooks", about, told, access=Access.ADMIN)
            for verb, path, made, about, told in admins
        ),
    )
