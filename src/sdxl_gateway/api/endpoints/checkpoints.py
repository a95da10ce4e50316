"""Lists the checkpoints, and what in their folder cannot be used."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.checkpoints import CheckpointList, checkpoint_list
from sdxl_gateway.api.services import Services

LIST_CHECKPOINTS = Description(
    "listCheckpoints",
    {200: Reply("The checkpoints, and what lies in their folder and cannot be used.", CheckpointList)},
)


def list_endpoint(services: Services) -> Endpoint:
    """GET: all checkpoints."""

    async def list_checkpoints(request: Request) -> Response:
        found, caller = services.library.checkpoints, context_of(request.scope).caller
        return JSONResponse(checkpoint_list(found.cards(caller), found.problems(caller)))

    return list_checkpoints
