"""Lists the checkpoints, and what in their folder cannot be used."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.checkpoints import CheckpointList, checkpoint_list
from sdxl_gateway.api.services import Services

LIST_CHECKPOINTS = Description(
    "listCheckpoints",
    {200: Reply("The checkpoints, and what lies in their folder and cannot be used.", CheckpointList)},
)


def list_endpoint(services: Services) -> Endpoint:
    """GET: all checkpoints."""

    async def list_checkpoints(_: Request) -> Response:
        found = services.library.checkpoints
        return JSONResponse(checkpoint_list(found.cards(), found.problems()))

    return list_checkpoints
