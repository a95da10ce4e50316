"""The caller of a request, and what they may see: the library, lists, a kept picture."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Forbidden, NotFound
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.gateway.library import ModelLibrary

OF_TENANT = {"type": "string", "description": "Only this tenant's; for admins, who see all by default."}


def caller_of(request: Request) -> Caller:
    """The caller of the request."""
    return context_of(request.scope).caller


def tenant_of(request: Request) -> str:
    """The caller's tenant."""
    return caller_of(request).tenant


def library_of(services: Services, request: Request) -> ModelLibrary:
    """The model library as the caller sees it."""
    return services.library.seen_by(caller_of(request))


def tenant_asked(request: Request, things: str) -> str | None:
    """The tenant whose things are listed: the caller's; for admins all (None), or one asked for. Raises Forbidden."""
    caller, tenant = caller_of(request), request.query_params.get("tenant")
    if not caller.admin and tenant not in (None, caller.tenant):
        raise Forbidden(f"Only an admin's key lists the {things} of others.")
    return tenant if caller.admin else caller.tenant


async def image_of(services: Services, caller: Caller, image_id: str) -> StoredImage:
    """A kept picture of the caller's tenant. Raises NotFound, for another tenant's too."""
    stored = await services.images.find(image_id)
    if stored.tenant != caller.tenant:
        raise NotFound("No such image.")
    return stored
