"""The LoRA shelf over HTTP: look at it, put a file on it, take one off; changing it needs an admin key."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.lora_upload import read_upload
from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import Forbidden


def list_endpoint(services: Services) -> Endpoint:
    """GET of all LoRAs, and of the files in the folder that cannot be used."""

    async def list_loras(_: Request) -> Response:
        library = services.gateway.library
        body = {"object": "list", "data": library.loras(), "problems": library.lora_problems(), "has_more": False}
        return JSONResponse(body)

    return list_loras


def one_endpoint(services: Services) -> Endpoint:
    """GET of one LoRA with its load report; 404 for an unknown one."""

    async def one_lora(request: Request) -> Response:
        return JSONResponse(await services.gateway.library.lora(request.path_params["name"]))

    return one_lora


def remove_endpoint(services: Services) -> Endpoint:
    """DELETE of one LoRA; 403 without an admin key, 404 for an unknown one."""

    async def remove_lora(request: Request) -> Response:
        _require_admin(request)
        name = request.path_params["name"]
        await services.gateway.library.remove_lora(name)
        return JSONResponse({"id": name, "object": "lora", "deleted": True})

    return remove_lora


def add_endpoint(services: Services) -> Endpoint:
    """POST of a form (`name`, `replace`, then `file`) or of the bare file with `?name=`; never held whole."""

    async def add_lora(request: Request) -> Response:
        _require_admin(request)
        name, replace, data = await read_upload(request)
        await services.gateway.library.add_lora(name, data, replace)
        return JSONResponse(await services.gateway.library.lora(name), 201)

    return add_lora


def _require_admin(request: Request) -> None:
    if not context_of(request.scope).caller.admin:
        raise Forbidden("This needs an admin key; the operator sets auth.admin_keys.")
