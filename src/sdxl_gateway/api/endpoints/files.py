"""Takes the address of a kept picture, gives its bytes with headers that make them nothing but a picture."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import NotFound

RETRIEVE_FILE = Description(
    "retrieveFile",
    {200: Reply("The picture.", content={f"image/{kind}": {} for kind in ("png", "jpeg", "webp")})},
    errors=(404, 410),
)

_NAME = re.compile(r"([0-9a-f]{32})\.(png|jpeg|webp)")


def file_endpoint(services: Services) -> Endpoint:
    """GET: the picture; its name is the secret that opens it."""

    async def file(request: Request) -> Response:
        match = _NAME.fullmatch(request.path_params["name"])
        if not match:
            raise NotFound("No such image.")
        stored = services.images.find(match[1], match[2])
        data = await asyncio.to_thread(services.images.read, stored)
        headers = _headers(services.images.remaining_seconds(stored))
        return Response(data, media_type=f"image/{stored.ext}", headers=headers)

    return file


def _headers(remaining_seconds: int) -> dict[str, str]:
    return {
        "cache-control": f"private, max-age={remaining_seconds}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "referrer-policy": "no-referrer",
    }
