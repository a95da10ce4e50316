"""Takes the gateway's model cards, gives OpenAI's model objects."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.services import ModelCard, World


def list_endpoint(world: World) -> Endpoint:
    async def list_models(_: Request) -> Response:
        data = [model_object(card) for card in world.gateway.shelf.models()]
        return JSONResponse({"object": "list", "data": data, "has_more": False})

    return list_models


def one_endpoint(world: World) -> Endpoint:
    async def one_model(request: Request) -> Response:
        return JSONResponse(model_object(world.gateway.shelf.model(request.path_params["model"])))

    return one_model


def model_object(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": card.owned_by,
        "kind": card.kind,
        "description": card.description,
        "ready": card.ready,
    }
