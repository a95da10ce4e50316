"""Serves kept pictures by their signed addresses, with headers that let browsers take them for nothing else."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import Gone, NotFound
from sdxl_gateway.core.ports import ImageStore, StoredImage

RETRIEVE_FILE = Description(
    "retrieveFile",
    {200: Reply("The picture.", content={f"image/{kind}": {} for kind in ("png", "jpeg", "webp")})},
    errors=(404, 410),
    query={"expires": {"type": "string"}, "signature": {"type": "string"}},
)


def file_endpoint(services: Services) -> Endpoint:
    """GET: the picture; the signature in its address authorizes the request."""

    async def file(request: Request) -> Response:
        name, asked = request.path_params["name"], request.query_params
        remaining = services.signer.remaining_seconds(name, asked.get("expires", ""), asked.get("signature", ""))
        stored, data = await _kept(services.images, name)
        return Response(data, media_type=f"image/{stored.ext}", headers=_headers(remaining))

    return file


async def _kept(images: ImageStore, name: str) -> tuple[StoredImage, bytes]:
    """The picture; its address was signed, so that it existed, but it may have been deleted."""
    try:
        stored = await images.find(name.partition(".")[0])
        return stored, await images.read(stored)
    except NotFound as error:
        raise Gone("This image was deleted.") from error


def _headers(remaining_seconds: int) -> dict[str, str]:
    return {
        "cache-control": f"private, max-age={remaining_seconds}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "referrer-policy": "no-referrer",
    }
