"""Lists the models that a request may name, and shows one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.endpoints.seen import caller_of, library_of
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.models import Model, ModelList, model_list, model_object
from sdxl_gateway.api.services import Services

LIST_MODELS = Description("listModels", {200: Reply("The models.", ModelList)})
RETRIEVE_MODEL = Description("retrieveModel", {200: Reply("The model.", Model)}, errors=(404,))


def list_endpoint(services: Services) -> Endpoint:
    """GET: all models."""

    async def list_models(request: Request) -> Response:
        return JSONResponse(model_list(library_of(services, request).models()))

    return list_models


def one_endpoint(services: Services) -> Endpoint:
    """GET: one model, by any name that a request may use, also of a blend. Operators see a rollout's arms."""

    async def one_model(request: Request) -> Response:
        library, admin = library_of(services, request), caller_of(request).admin
        card = library.operators_model if admin else library.model
        return JSONResponse(model_object(card(request.path_params["model"])))

    return one_model
