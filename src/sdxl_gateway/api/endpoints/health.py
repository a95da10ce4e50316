"""Reports whether the process is alive, and whether it can paint."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.services import Services

HEALTHZ = Description("healthz", {200: Reply("The process runs.", dict[str, Any])})
READYZ = Description(
    "readyz",
    {200: Reply("It can paint.", dict[str, Any]), 503: Reply("It cannot paint now.", dict[str, Any])},
)


async def healthz(_: Request) -> Response:
    """GET: always 200."""
    return JSONResponse({"status": "ok"})


def readyz_endpoint(services: Services) -> Endpoint:
    """GET: 200 when an engine can paint, else 503; "degraded" names background work that failed lately and, as
    "engine:0", engines that were lost and have not returned.

    "held" are engines that are paused because their machine is too hot or too full; 503 if all are for long.
    """

    async def readyz(_: Request) -> Response:
        ready = services.gateway.ready and not services.pauses.unready
        ailing = [*services.ailing(), *(f"engine:{engine}" for engine in services.pauses.lost)]
        degraded = {"degraded": ailing} if ailing else {}
        held = {"held": told} if (told := services.pauses.told()) else {}
        return JSONResponse({**services.gateway.readiness(), "ready": ready, **degraded, **held}, 200 if ready else 503)

    return readyz
