"""Shows a tenant what its receivers of webhooks were sent, sends it again; gives operators the secrets."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.keys import read_grace
from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import tenant_of
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.webhooks import (
    DeliveryCard,
    DeliveryList,
    WebhookSecret,
    delivery_card,
    delivery_list,
    webhook_secret,
)
from sdxl_gateway.api.services import Services
from sdxl_gateway.webhooks.store import GRACE_SECONDS

_JSON = {"application/json": {"schema": {"type": "object"}}}

LIST_DELIVERIES = Description(
    "listWebhookDeliveries",
    {200: Reply("A page of deliveries, the latest first.", DeliveryList)},
    errors=(400, 404),
    query=PAGE_QUERY,
)
RETRIEVE_DELIVERY = Description("retrieveWebhookDelivery", {200: Reply("The delivery.", DeliveryCard)}, errors=(404,))
REPLAY_DELIVERY = Description(
    "replayWebhookDelivery", {200: Reply("The delivery, queued again.", DeliveryCard)}, errors=(404, 507)
)
RETRIEVE_SECRET = Description(
    "retrieveWebhookSecret", {200: Reply("The secrets that sign now.", WebhookSecret)}, errors=(404,)
)
ROTATE_SECRET = Description(
    "rotateWebhookSecret",
    {201: Reply("The new secret and the old one, which also signs for a while.", WebhookSecret)},
    errors=(400, 404, 413, 507),
    reads=_JSON,
    needs_body=False,
)


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page of the caller's deliveries."""

    async def list_deliveries(request: Request) -> Response:
        page = Page.of(request)
        found, more = await services.webhooks.page(tenant_of(request), page.limit, page.after)
        return JSONResponse(delivery_list(found, has_more=more))

    return list_deliveries


def one_endpoint(services: Services) -> Endpoint:
    """GET: one of the caller's deliveries."""

    async def one_delivery(request: Request) -> Response:
        found = await services.webhooks.find(tenant_of(request), request.path_params["delivery_id"])
        return JSONResponse(delivery_card(found))

    return one_delivery


def replay_endpoint(services: Services) -> Endpoint:
    """POST: the delivery is sent again, also to a receiver that was gone."""

    async def replay_delivery(request: Request) -> Response:
        found = await services.webhooks.replay(tenant_of(request), request.path_params["delivery_id"])
        acted(services, request, "webhook.replayed", found.id)
        return JSONResponse(delivery_card(found))

    return replay_delivery


def secret_endpoint(services: Services) -> Endpoint:
    """GET: what a tenant's receivers verify with."""

    async def one_secret(request: Request) -> Response:
        tenant = request.path_params["tenant"]
        secrets = await services.webhooks.secrets(tenant)
        acted(services, request, "webhook_secret.read", tenant, tenant)
        return JSONResponse(webhook_secret(tenant, secrets))

    return one_secret


def rotate_endpoint(services: Services) -> Endpoint:
    """POST: a new secret; the body, if there is one, says how long the old one signs beside it."""

    async def rotate_secret(request: Request) -> Response:
        tenant = request.path_params["tenant"]
        grace = read_grace(await small_object(request, may_be_empty=True), GRACE_SECONDS)
        await services.webhooks.new_secret(tenant, grace)
        acted(services, request, "webhook_secret.rotated", tenant, tenant)
        return JSONResponse(webhook_secret(tenant, await services.webhooks.secrets(tenant)), 201)

    return rotate_secret
