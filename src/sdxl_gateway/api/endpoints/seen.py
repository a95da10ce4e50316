"""Takes a request, gives the library as whoever asks sees it."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.services import Services
from sdxl_gateway.gateway.library import ModelLibrary


def library_of(services: Services, request: Request) -> ModelLibrary:
    """The names on offer to the request's caller."""
    return services.library.seen_by(context_of(request.scope).caller)
