"""Lists checkpoints and the unusable files in their folder; adds, describes and removes checkpoints."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.checkpoint_sidecar import SIDECAR_SCHEMA, read_sidecar
from sdxl_gateway.api.asks.model_upload import read_upload
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import caller_of
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.openapi.schemas import file
from sdxl_gateway.api.replies.checkpoints import CheckpointList, DeletedCheckpoint, checkpoint_list, deleted_checkpoint
from sdxl_gateway.api.services import Services
from sdxl_gateway.catalog.lora_folder.names import one_spelling
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.gateway.checkpoint_card import Checkpoint

LIST_CHECKPOINTS = Description(
    "listCheckpoints",
    {200: Reply("The checkpoints and the unusable files in their folder.", CheckpointList)},
)
_NAME = {"name": {"type": "string", "description": "What the checkpoint is called as a model."}}
CREATE_CHECKPOINT = Description(
    "createCheckpoint",
    {201: Reply("The checkpoint as it was added.", Checkpoint)},
    errors=(400, 409, 413, 415, 507),
    reads={
        "multipart/form-data": {
            "schema": {"type": "object", "properties": _NAME | {"file": file()}, "required": ["name", "file"]}
        },
        "application/octet-stream": {},
    },
    query=_NAME,
)
UPDATE_CHECKPOINT = Description(
    "updateCheckpoint",
    {200: Reply("The checkpoint as it is now.", Checkpoint)},
    errors=(400, 404, 409, 413, 507),
    reads={"application/json": {"schema": SIDECAR_SCHEMA}},
)

DELETE_CHECKPOINT = Description(
    "deleteCheckpoint", {200: Reply("The checkpoint was removed.", DeletedCheckpoint)}, errors=(400, 404, 409)
)


def list_endpoint(services: Services) -> Endpoint:
    """GET: all checkpoints."""

    async def list_checkpoints(request: Request) -> Response:
        found, caller = services.library.checkpoints, caller_of(request)
        return JSONResponse(checkpoint_list(found.cards(caller), found.problems(caller)))

    return list_checkpoints


def add_endpoint(services: Services) -> Endpoint:
    """POST of a form (`name`, then `file`) or of the bare file with `?name=`; streamed to the disk."""

    async def add_checkpoint(request: Request) -> Response:
        name, replace, data = await read_upload(request)
        if replace:
            raise InvalidRequest("A checkpoint is not replaced: delete it first.", param="replace")
        added = await services.library.add_checkpoint(name, data, caller_of(request))
        acted(services, request, "checkpoint.added", name, digest=added["digest"])
        return JSONResponse(added, 201)

    return add_checkpoint


def change_endpoint(services: Services) -> Endpoint:
    """POST: change the given keys of its side-car; null removes a key."""

    async def change_checkpoint(request: Request) -> Response:
        name, caller = one_spelling(request.path_params["name"]), caller_of(request)
        changes = read_sidecar(await small_object(request))
        changed = await services.library.checkpoints.describe(name, changes, caller)
        acted(services, request, "checkpoint.changed", name, fields=" ".join(sorted(changes)))
        return JSONResponse(changed)

    return change_checkpoint


def remove_endpoint(services: Services) -> Endpoint:
    """DELETE: delete the checkpoint's files and its side-car."""

    async def remove_checkpoint(request: Request) -> Response:
        name = one_spelling(request.path_params["name"])
        await services.library.remove_checkpoint(name, caller_of(request))
        acted(services, request, "checkpoint.removed", name)
        return JSONResponse(deleted_checkpoint(name))

    return remove_checkpoint
