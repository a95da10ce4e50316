"""Takes the gateway's model cards, gives OpenAI's model objects."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.endpoints.images import Endpoint
from sdxl_gateway.api.services import ModelCard, Services


def list_endpoint(services: Services) -> Endpoint:
    async def list_models(_: Request) -> Response:
        data = [model_object(card) for card in services.gateway.library.models()]
        return JSONResponse({"object": "list", "data": data, "has_more": False})

    return list_models


def one_endpoint(services: Services) -> Endpoint:
    async def one_model(request: Request) -> Response:
        return JSONResponse(model_object(services.gateway.library.model(request.path_params["model"])))

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
