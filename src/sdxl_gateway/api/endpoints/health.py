"""Says whether the process lives, and whether it can paint."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.services import Services


async def healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def readyz_endpoint(services: Services) -> Endpoint:
    async def readyz(_: Request) -> Response:
        ready = services.gateway.ready
        return JSONResponse({**services.gateway.readiness(), "ready": ready}, 200 if ready else 503)

    return readyz
