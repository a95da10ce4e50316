"""The table of all routes, and the HTTP application made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from sdxl_gateway.api.http import router
from sdxl_gateway.api.http.closing import Closing, TurnAwayUnfinished
from sdxl_gateway.api.http.errors import RETRY_HEADERS, on_gateway_error
from sdxl_gateway.api.http.paths import TidyPaths
from sdxl_gateway.api.http.rate_headers import RateHeaders
from sdxl_gateway.api.http.request_log import ANSWER_HEADERS, RequestLogMiddleware
from sdxl_gateway.api.http.route import BodyLimit, Route
from sdxl_gateway.api.http.tracing import Tracing
from sdxl_gateway.api.http.turns import InTurn, Turns
from sdxl_gateway.api.http.wrong_keys import WrongKeys
from sdxl_gateway.api.openapi.document import openapi_document
from sdxl_gateway.api.rows.batches import batch_rows
from sdxl_gateway.api.rows.feedback import feedback_rows
from sdxl_gateway.api.rows.files import file_rows
from sdxl_gateway.api.rows.jobs import job_rows
from sdxl_gateway.api.rows.keys import key_rows, usage_rows
from sdxl_gateway.api.rows.loras import lora_rows
from sdxl_gateway.api.rows.models import model_rows
from sdxl_gateway.api.rows.moderations import moderation_rows
from sdxl_gateway.api.rows.page import page_rows
from sdxl_gateway.api.rows.painting import painting_rows
from sdxl_gateway.api.rows.server import server_rows
from sdxl_gateway.api.rows.stored_images import stored_image_rows
from sdxl_gateway.api.rows.tenants import tenant_rows
from sdxl_gateway.api.rows.webhooks import webhook_rows
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import GatewayError, Unauthenticated


def table(services: Services) -> tuple[Route, ...]:
    """All routes, one row each."""
    return (
        *painting_rows(services),
        *stored_image_rows(services),
        *feedback_rows(services),
        *model_rows(services),
        *lora_rows(services),
        *key_rows(services),
        *usage_rows(services),
        *file_rows(services),
        *batch_rows(services),
        *tenant_rows(services),
        *moderation_rows(services),
        *webhook_rows(services),
        *job_rows(services),
        *server_rows(services),
        *page_rows(services),
    )


def http_app(
    services: Services,
    lifespan: Lifespan[Starlette] | None = None,
    rows: Sequence[Route] | None = None,
    closing: Closing | None = None,
) -> Starlette:
    """The whole application; `rows` replace the table, `closing` is begun when the server ends."""
    rows = table(services) if rows is None else rows
    server, traces = services.settings.server, services.settings.traces
    limit = BodyLimit(server.max_body_bytes, server.receive_timeout_seconds)
    app = Starlette(
        routes=router.routes(rows, services.authenticator, limit, services.admit),
        middleware=[
            *([] if traces.sampling is None else [Middleware(Tracing, sampling=traces.sampling)]),
            Middleware(RequestLogMiddleware, on_request=services.on_request),
            Middleware(InTurn, turns=Turns()),
            Middleware(CORSMiddleware, **_cors(rows, server.cors_origins)),
            Middleware(TurnAwayUnfinished, closing=closing or Closing()),
            Middleware(TidyPaths),
            Middleware(RateHeaders, levels=services.limits.levels),
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
    """What pages of other origins may send and read (CORS)."""
    headers = (*ANSWER_HEADERS, *RETRY_HEADERS, *(name for row in rows for name in row.headers))
    return {
        "allow_origins": list(origins),
        "allow_methods": sorted({"HEAD", *(row.verb for row in rows)}),
        "allow_headers": ["*"],
        "expose_headers": list(dict.fromkeys(headers)),
    }
