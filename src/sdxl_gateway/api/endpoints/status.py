"""Tells operators how the server stands: engines, queue, warm blends, memory."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.status import Status, told
from sdxl_gateway.api.services import Services

GET_STATUS = Description("getStatus", {200: Reply("The current status.", Status)})


def status_endpoint(services: Services) -> Endpoint:
    """GET: always 200, also while it cannot paint."""

    async def status(_: Request) -> Response:
        ready = services.gateway.ready and not services.pauses.unready
        now = told(services.status, services.gateway, services.version, ready=ready, degraded=services.ailing())
        return JSONResponse(now)

    return status
