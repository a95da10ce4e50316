"""THE TABLE of all routes, and the HTTP application made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from sdxl_gateway.api.endpoints import (
    checkpoints,
    files,
    health,
    images,
    keys,
    metrics,
    models,
    openapi,
    recipes,
    usage,
)
from sdxl_gateway.api.endpoints.once import REPLAY_HEADERS
from sdxl_gateway.api.http import router
from sdxl_gateway.api.http.closing import Closing, TurnAwayUnfinished
from sdxl_gateway.api.http.errors import RETRY_HEADERS, on_gateway_error
from sdxl_gateway.api.http.paths import TidyPaths
from sdxl_gateway.api.http.rate_headers import RATE_HEADERS, RateHeaders
from sdxl_gateway.api.http.request_log import ID_HEADERS, RequestLogMiddleware
from sdxl_gateway.api.http.route import Access, BodyLimit, Route
from sdxl_gateway.api.http.turns import InTurn, Turns
from sdxl_gateway.api.http.wrong_keys import WrongKeys
from sdxl_gateway.api.openapi.document import openapi_document
from sdxl_gateway.api.replies.images import REPLY_HEADERS
from sdxl_gateway.api.rows.batches import batch_rows
from sdxl_gateway.api.rows.files import file_rows
from sdxl_gateway.api.rows.images import stored_image_rows
from sdxl_gateway.api.rows.jobs import job_rows
from sdxl_gateway.api.rows.loras import lora_rows
from sdxl_gateway.api.rows.moderations import moderation_rows
from sdxl_gateway.api.rows.paths import openai_paths
from sdxl_gateway.api.rows.tenants import tenant_rows
from sdxl_gateway.api.rows.webhooks import webhook_rows
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import GatewayError, Unauthenticated

PAINT_HEADERS = REPLY_HEADERS | RATE_HEADERS | REPLAY_HEADERS
AZURE_PREFIX = "/openai/deployments/{deployment:path}"


def table(services: Services) -> tuple[Route, ...]:
    """One row a route."""
    return (
        *_image_rows(services),
        *stored_image_rows(services),
        *_model_rows(services),
        *lora_rows(services),
        *_key_rows(services),
        *_usage_rows(services),
        *file_rows(services),
        *batch_rows(services),
        *tenant_rows(services),
        *moderation_rows(services),
        *webhook_rows(services),
        *job_rows(services),
        *_own_rows(services),
    )


def _image_rows(services: Services) -> tuple[Route, ...]:
    limits = services.settings.limits
    return (
        Route(
            "POST",
            (*openai_paths("/images/generations"), AZURE_PREFIX + "/images/generations"),
            images.paint_endpoint(services, Operation.GENERATE),
            label="images.generations",
            summary="Paint pictures from a prompt.",
            description=images.description(limits, Operation.GENERATE),
            paints=True,
            headers=PAINT_HEADERS,
        ),
        Route(
            "POST",
            (*openai_paths("/images/edits"), AZURE_PREFIX + "/images/edits"),
            images.paint_endpoint(services, Operation.EDIT),
            label="images.edits",
            summary="Paint pictures from a picture and a prompt.",
            description=images.description(limits, Operation.EDIT),
            paints=True,
            headers=PAINT_HEADERS,
        ),
        Route(
            "POST",
            openai_paths("/images/variations"),
            images.paint_endpoint(services, Operation.VARY),
            label="images.variations",
            summary="Paint variations of a picture.",
            description=images.description(limits, Operation.VARY),
            paints=True,
            headers=PAINT_HEADERS,
        ),
        Route(
            "POST",
            openai_paths("/images/recipe"),
            recipes.read_endpoint(services),
            label="images.recipe",
            summary="Read out of a picture's file how it was made.",
            description=recipes.READ_RECIPE,
        ),
    )


def _model_rows(services: Services) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            openai_paths("/models"),
            models.list_endpoint(services),
            label="models",
            summary="Checkpoints, aliases, styles and LoRAs.",
            description=models.LIST_MODELS,
        ),
        Route(
            "GET",
            openai_paths("/models/{model:path}"),
            models.one_endpoint(services),
            label="models",
            summary="One model.",
            description=models.RETRIEVE_MODEL,
        ),
        Route(
            "GET",
            openai_paths("/checkpoints"),
            checkpoints.list_endpoint(services),
            label="checkpoints",
            summary="The checkpoints, and what in their folder cannot be used.",
            description=checkpoints.LIST_CHECKPOINTS,
        ),
    )


def _key_rows(services: Services) -> tuple[Route, ...]:
    rows = (
        ("GET", "", keys.list_endpoint, "The keys, page by page.", keys.LIST_KEYS),
        ("POST", "", keys.create_endpoint, "Make a key.", keys.CREATE_KEY),
        ("GET", "/{key_id}", keys.one_endpoint, "One key.", keys.RETRIEVE_KEY),
        ("POST", "/{key_id}", keys.update_endpoint, "Change a key.", keys.UPDATE_KEY),
        ("POST", "/{key_id}/rotate", keys.rotate_endpoint, "Make a key in place of another.", keys.ROTATE_KEY),
        ("DELETE", "/{key_id}", keys.revoke_endpoint, "Revoke a key.", keys.REVOKE_KEY),
    )
    return tuple(
        Route(verb, (f"/v1/admin/keys{path}",), made(services), "admin.keys", about, told, access=Access.ADMIN)
        for verb, path, made, about, told in rows
    )


def _usage_rows(services: Services) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            ("/v1/admin/usage",),
            usage.list_endpoint(services),
            label="admin.usage",
            summary="What keys used, day by day.",
            description=usage.LIST_USAGE,
            access=Access.ADMIN,
        ),
    )


def _own_rows(services: Services) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            ("/files/{name}",),
            files.file_endpoint(services),
            label="files",
            summary="A kept picture, by the signed address a reply gave.",
            description=files.RETRIEVE_FILE,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/healthz",),
            health.healthz,
            label="healthz",
            summary="Whether the process runs.",
            description=health.HEALTHZ,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/readyz",),
            health.readyz_endpoint(services),
            label="readyz",
            summary="Whether the server can paint.",
            description=health.READYZ,
            access=Access.OPEN,
        ),
        Route(
            "GET",
            ("/metrics",),
            metrics.metrics_endpoint(services),
            label="metrics",
            summary="Metrics for Prometheus.",
            description=metrics.METRICS,
            access=Access.METRICS if services.settings.auth.protect_metrics else Access.OPEN,
        ),
        Route(
            "GET",
            ("/openapi.json",),
            openapi.document,
            label="openapi.json",
            summary="This document.",
            description=openapi.DOCUMENT,
            access=Access.OPEN,
        ),
    )


def http_app(
    services: Services,
    lifespan: Lifespan[Starlette] | None = None,
    rows: Sequence[Route] | None = None,
    closing: Closing | None = None,
) -> Starlette:
    """The whole application; `rows` replace the table's, `closing` is begun by whoever ends the server."""
    rows = table(services) if rows is None else rows
    server = services.settings.server
    limit = BodyLimit(server.max_body_bytes, server.receive_timeout_seconds)
    app = Starlette(
        routes=router.routes(rows, services.authenticator, limit, services.admit),
        middleware=[
            Middleware(RequestLogMiddleware, on_request=services.on_request),
            Middleware(InTurn, turns=Turns()),
            Middleware(CORSMiddleware, **_cors(rows, server.cors_origins)),
            Middleware(TurnAwayUnfinished, closing=closing or Closing()),
            Middleware(TidyPaths),
            *([] if services.limits is None else [Middleware(RateHeaders, levels=services.limits.levels)]),
        ],
        exception_handlers={
            GatewayError: on_gateway_error,
            Unauthenticated: WrongKeys(services.settings.auth.wrong_keys_per_minute).on_unauthenticated,
        },
        lifespan=lifespan,
    )
    # A redirect would be built from the Host header, and POSTs do not survive one.
    app.router.redirect_slashes = False
    app.router.default = router.UnknownPath(rows, services.authenticator)
    app.state.document = openapi_document(rows, services.version)
    return app


def _cors(rows: Sequence[Route], origins: Sequence[str]) -> dict[str, Any]:
    """What pages of other origins may send and read."""
    headers = (*ID_HEADERS, *RETRY_HEADERS, *(name for row in rows for name in row.headers))
    return {
        "allow_origins": list(origins),
        "allow_methods": sorted({"HEAD", *(row.verb for row in rows)}),
        "allow_headers": ["*"],
        "expose_headers": list(dict.fromkeys(headers)),
    }
