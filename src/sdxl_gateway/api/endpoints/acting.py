"""Announces actions of endpoints that are to be audited."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.events import Acted


def acted(
    services: Services, request: Request, action: str, target: str, tenant: str | None = None, **about: str | int
) -> None:
    """Announce that the caller did `action`, such as "key.created", to `target` of `tenant`, by default their own."""
    context = context_of(request.scope)
    whose = context.caller.tenant if tenant is None else tenant
    services.tell(Acted(context.caller, whose, action, target, context.request_id, about))
