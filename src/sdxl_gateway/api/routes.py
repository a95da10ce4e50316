"""Takes the World, gives the HTTP application: its routes, what wraps them, and how errors are answered."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from sdxl_gateway.api.endpoints import files, health, loras, metrics, models
from sdxl_gateway.api.endpoints.images import Endpoint, paint_endpoint
from sdxl_gateway.api.endpoints.openapi import document_endpoint
from sdxl_gateway.api.http.authenticate import AuthenticateMiddleware
from sdxl_gateway.api.http.body_limit import BodyLimitMiddleware
from sdxl_gateway.api.http.errors import on_gateway_error, on_http_exception
from sdxl_gateway.api.http.request_log import RequestLogMiddleware
from sdxl_gateway.api.services import Services
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import GatewayError

PREFIXES = ("/v1", "")
EXPOSED_HEADERS = (
    "x-request-id",
    "openai-processing-ms",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-sdxl-gateway-ignored",
    "x-sdxl-gateway-warning",
)


def http_app(services: Services, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
    """The whole application."""
    app = Starlette(
        routes=routes(services),
        middleware=middleware(services),
        exception_handlers={GatewayError: on_gateway_error, HTTPException: on_http_exception},
        lifespan=lifespan,
    )
    # A redirect would be built from the Host header, and POSTs do not survive one.
    app.router.redirect_slashes = False
    return app


def routes(services: Services) -> list[BaseRoute]:
    """OpenAI's routes with and without /v1, the Azure spelling, and this server's own."""
    found: list[BaseRoute] = []
    for prefix in PREFIXES:
        found += _openai_routes(services, prefix)
    return [*found, *_azure_routes(services), *_own_routes(services)]


def middleware(services: Services) -> list[Middleware]:
    """Outermost first."""
    return [
        Middleware(RequestLogMiddleware, on_request=services.on_request),
        Middleware(CORSMiddleware, **_cors(services.settings)),
        Middleware(
            AuthenticateMiddleware,
            authenticator=services.authenticator,
            protect_metrics=services.settings.auth.protect_metrics,
        ),
        Middleware(BodyLimitMiddleware, settings=services.settings),
    ]


def _openai_routes(services: Services, prefix: str) -> list[BaseRoute]:
    return [
        Route(f"{prefix}/images/generations", paint_endpoint(services, Operation.GENERATE), methods=["POST"]),
        Route(f"{prefix}/images/edits", paint_endpoint(services, Operation.EDIT), methods=["POST"]),
        Route(f"{prefix}/images/variations", paint_endpoint(services, Operation.VARY), methods=["POST"]),
        Route(f"{prefix}/models", models.list_endpoint(services), methods=["GET"]),
        Route(f"{prefix}/models/{{model:path}}", models.one_endpoint(services), methods=["GET"]),
        _by_method(f"{prefix}/loras", GET=loras.list_endpoint(services), POST=loras.add_endpoint(services)),
        _by_method(
            f"{prefix}/loras/{{name:path}}", GET=loras.one_endpoint(services), DELETE=loras.remove_endpoint(services)
        ),
    ]


def _by_method(path: str, **endpoints: Endpoint) -> Route:
    """One route for all verbs of a path, so that a wrong verb is told all the right ones."""

    async def chosen(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, chosen, methods=list(endpoints))


def _azure_routes(services: Services) -> list[BaseRoute]:
    place = "/openai/deployments/{deployment:path}/images"
    return [
        Route(f"{place}/generations", paint_endpoint(services, Operation.GENERATE), methods=["POST"]),
        Route(f"{place}/edits", paint_endpoint(services, Operation.EDIT), methods=["POST"]),
    ]


def _own_routes(services: Services) -> list[BaseRoute]:
    return [
        Route("/files/{name}", files.file_endpoint(services), methods=["GET"]),
        Route("/healthz", health.healthz, methods=["GET"]),
        Route("/readyz", health.readyz_endpoint(services), methods=["GET"]),
        Route("/metrics", metrics.metrics_endpoint(services), methods=["GET"]),
        Route("/openapi.json", document_endpoint(services), methods=["GET"]),
    ]


def _cors(settings: Settings) -> dict[str, Any]:
    return {
        "allow_origins": list(settings.server.cors_origins),
        "allow_methods": ["GET", "HEAD", "POST", "DELETE"],
        "allow_headers": ["*"],
        "expose_headers": list(EXPOSED_HEADERS),
    }
