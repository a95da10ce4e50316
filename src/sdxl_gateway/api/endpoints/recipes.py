"""Reads out of a picture's file how the picture was made."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.body import ask_of
from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.endpoints.seen import caller_of
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.openapi.schemas import file, ref
from sdxl_gateway.api.replies.recipes import WrittenRecipe, written_recipe
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.ask import Operation

_ABOUT = "A PNG, JPEG or WebP file."
_IMAGE = Field("image", Kind.PICTURE, _ABOUT, required=frozenset(Operation))


def _body(image: dict[str, object]) -> dict[str, object]:
    return {"schema": {"type": "object", "properties": {"image": image}, "required": ["image"]}}


READ_RECIPE = Description(
    "readImageRecipe",
    {200: Reply("What the file says.", WrittenRecipe)},
    errors=(400, 404, 408, 413, 415),
    reads={"application/json": _body(ref("ImageReference")), "multipart/form-data": _body(file())},
)


def read_endpoint(services: Services) -> Endpoint:
    """POST of a form or of JSON with an `image`: nothing is painted."""
    server = services.settings.server
    rules = Rules(services.settings.limits, server.strict, fields=(_IMAGE,))

    async def read_recipe(request: Request) -> Response:
        read = await ask_of(request, Operation.VARY, rules, server.max_body_bytes)
        upload = await services.pictures.bring(read.ask.images[0], caller_of(request))
        return JSONResponse(written_recipe(await services.gateway.written(upload)))

    return read_recipe
