"""Gives the OpenAPI document, made once."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.openapi.document import openapi_document
from sdxl_gateway.api.services import World


def document_endpoint(world: World) -> Endpoint:
    document = openapi_document(world.settings.limits, world.version)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    return openapi
