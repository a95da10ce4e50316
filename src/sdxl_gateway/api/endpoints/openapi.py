"""Gives the OpenAPI document, made once."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.openapi.document import openapi_document
from sdxl_gateway.api.services import Services


def document_endpoint(services: Services) -> Endpoint:
    document = openapi_document(services.settings.limits, services.version)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    return openapi
