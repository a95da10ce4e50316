"""Lists LoRAs, shows one with its load report; adds, describes and removes LoRAs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.lora_sidecar import SIDECAR_SCHEMA, read_sidecar
from sdxl_gateway.api.asks.model_upload import read_upload
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import library_of
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.openapi.schemas import file
from sdxl_gateway.api.replies.loras import DeletedLora, LoraList, deleted_lora, lora_list
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.gateway.lora_card import Lora

_FIELDS = {"name": {"type": "string"}, "replace": {"type": "boolean"}}
_FORM = {"type": "object", "properties": {**_FIELDS, "file": file()}, "required": ["name", "file"]}

LIST_LORAS = Description("listLoras", {200: Reply("The LoRAs, and the files that cannot be used.", LoraList)})
RETRIEVE_LORA = Description("retrieveLora", {200: Reply("The LoRA with its load report.", Lora)}, errors=(404,))
DELETE_LORA = Description("deleteLora", {200: Reply("The LoRA was removed.", DeletedLora)}, errors=(400, 404, 409))
UPDATE_LORA = Description(
    "updateLora",
    {200: Reply("The LoRA as it is now.", Lora)},
    errors=(400, 404, 409, 413, 507),
    reads={"application/json": {"schema": SIDECAR_SCHEMA}},
)
CREATE_LORA = Description(
    "createLora",
    {201: Reply("The LoRA as it was added.", Lora)},
    errors=(400, 409, 413, 415, 507),
    reads={"multipart/form-data": {"schema": _FORM}, "application/octet-stream": {}},
    query=_FIELDS,
)


def list_endpoint(services: Services) -> Endpoint:
    """GET: all LoRAs."""

    async def list_loras(request: Request) -> Response:
        library = library_of(services, request)
        return JSONResponse(lora_list(library.loras(), library.lora_problems()))

    return list_loras


def one_endpoint(services: Services) -> Endpoint:
    """GET: one LoRA, checked against the default checkpoint."""

    async def one_lora(request: Request) -> Response:
        return JSONResponse(await library_of(services, request).lora(request.path_params["name"]))

    return one_lora


def change_endpoint(services: Services) -> Endpoint:
    """POST: change the given keys of its side-car; null removes a key."""

    async def change_lora(request: Request) -> Response:
        name, changes = request.path_params["name"], read_sidecar(await small_object(request))
        changed = await library_of(services, request).describe_lora(name, changes)
        acted(services, request, "lora.changed", changed["name"], fields=" ".join(sorted(changes)))
        return JSONResponse(changed)

    return change_lora


def remove_endpoint(services: Services) -> Endpoint:
    """DELETE: delete the LoRA's file."""

    async def remove_lora(request: Request) -> Response:
        name = request.path_params["name"]
        await library_of(services, request).remove_lora(name)
        acted(services, request, "lora.removed", name)
        return JSONResponse(deleted_lora(name))

    return remove_lora


def add_endpoint(services: Services) -> Endpoint:
    """POST of a form (`name`, `replace`, then `file`) or of the bare file with `?name=`; streamed to the disk."""

    async def add_lora(request: Request) -> Response:
        name, replace, data = await read_upload(request)
        try:
            await library_of(services, request).add_lora(name, data, replace)
        except AdapterRefused as refused:
            raise AdapterRefused(refused.message, param="file") from refused
        added = await library_of(services, request).lora(name)
        acted(services, request, "lora.added", name, digest=added.get("digest") or "", bytes=added["bytes"])
        return JSONResponse(added, 201)

    return add_lora
