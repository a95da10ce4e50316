"""Lists a tenant's kept pictures, shows one, deletes one; what is another's is not there."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.pages import PAGE_QUERY, Page
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.links import links_of
from sdxl_gateway.api.endpoints.seen import caller_of, image_of, tenant_of
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.absences import absence_header
from sdxl_gateway.api.replies.stored_images import (
    DeletedImage,
    ImageCard,
    ImageList,
    deleted_image,
    image_card,
    image_list,
)
from sdxl_gateway.api.services import Services

LIST_IMAGES = Description(
    "listImages",
    {200: Reply("A page of your tenant's pictures, the newest first.", ImageList)},
    errors=(400, 503),
    query=PAGE_QUERY,
)
RETRIEVE_IMAGE = Description("retrieveImage", {200: Reply("The picture, with an address.", ImageCard)}, errors=(404,))
DELETE_IMAGE = Description("deleteImage", {200: Reply("The picture is gone.", DeletedImage)}, errors=(404, 507))


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page of the pictures of the caller's tenant."""

    async def list_images(request: Request) -> Response:
        page = Page.of(request)
        found = await services.images.page_everywhere(tenant_of(request), page.limit, page.after)
        listed = image_list(found.items, links_of(services, request), has_more=found.more)
        return JSONResponse(listed, headers=absence_header(found.missing))

    return list_images


def one_endpoint(services: Services) -> Endpoint:
    """GET: one picture."""

    async def one_image(request: Request) -> Response:
        stored = await image_of(services, caller_of(request), request.path_params["image_id"])
        return JSONResponse(image_card(stored, links_of(services, request)))

    return one_image


def delete_endpoint(services: Services) -> Endpoint:
    """DELETE: the picture goes, and its address leads nowhere."""

    async def delete_image(request: Request) -> Response:
        image_id = request.path_params["image_id"]
        await services.images.delete(image_id, tenant_of(request))
        acted(services, request, "image.deleted", image_id)
        return JSONResponse(deleted_image(image_id))

    return delete_image
