"""Takes a request, gives what whoever asks sees: the library, and whose things."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import Forbidden
from sdxl_gateway.gateway.library import ModelLibrary

OF_TENANT = {"type": "string", "description": "For admins, who see those of all otherwise."}


def library_of(services: Services, request: Request) -> ModelLibrary:
    """The names on offer to the request's caller."""
    return services.library.seen_by(context_of(request.scope).caller)


def tenant_asked(request: Request, things: str) -> str | None:
    """Whose are listed: the caller's tenant's; for an admin all, or those of the tenant asked for. Raises Forbidden."""
    caller, tenant = context_of(request.scope).caller, request.query_params.get("tenant")
    if not caller.admin and tenant not in (None, caller.tenant):
        raise Forbidden(f"Only an admin's key lists the {things} of others.")
    return tenant if caller.admin else caller.tenant
