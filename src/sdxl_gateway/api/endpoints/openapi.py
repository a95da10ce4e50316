"""Serves the OpenAPI document, which the application makes once of all its routes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.http.route import Description, Reply

DOCUMENT = Description("openapi", {200: Reply("The OpenAPI document.", dict[str, Any])})


async def document(request: Request) -> Response:
    """GET: the document."""
    return JSONResponse(request.app.state.document)
