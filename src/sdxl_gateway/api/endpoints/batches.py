"""Accepts, lists, shows and cancels batches of requests, and delivers their pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from sdxl_gateway.api.asks.batches import ENDPOINTS, read_batch
from sdxl_gateway.api.asks.expiry import EXPIRY_SCHEMA
from sdxl_gateway.api.asks.pages import Page, page_query
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.links import links_of
from sdxl_gateway.api.endpoints.seen import OF_TENANT, caller_of, image_of, tenant_asked
from sdxl_gateway.api.http.json_body import small_object
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.batches import BatchList, BatchObject, batch_list, batch_object
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.gateway.archive import archived
from sdxl_gateway.storage.pages import Cut

MOST_PAGE = 100
_BODY = {
    "type": "object",
    "properties": {
        "input_file_id": {"type": "string"},
        "endpoint": {"type": "string", "enum": list(ENDPOINTS)},
        "completion_window": {"type": "string", "enum": ["24h"]},
        "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string", "maxLength": 512}},
        "output_expires_after": EXPIRY_SCHEMA,
    },
    "required": ["input_file_id", "endpoint", "completion_window"],
}
CREATE_BATCH = Description(
    "createBatch",
    {200: Reply("The accepted batch.", BatchObject)},
    errors=(400, 404, 413, 429, 507),
    reads={"application/json": {"schema": _BODY}},
)
LIST_BATCHES = Description(
    "listBatches",
    {200: Reply("A page of the batches.", BatchList)},
    errors=(400,),
    query={**page_query(most=MOST_PAGE), "tenant": OF_TENANT},
)
RETRIEVE_BATCH = Description("retrieveBatch", {200: Reply("The batch.", BatchObject)}, errors=(404,))
CANCEL_BATCH = Description(
    "cancelBatch", {200: Reply("The batch, being cancelled.", BatchObject)}, errors=(404, 409, 507)
)
BATCH_ARCHIVE = Description(
    "archiveBatch",
    {
        200: Reply(
            "The pictures painted so far; `missing.txt` lists those already deleted.", content={"application/zip": {}}
        )
    },
    errors=(404,),
)


def create_endpoint(services: Services) -> Endpoint:
    """POST: accept a batch."""

    async def create_batch(request: Request) -> Response:
        given = await small_object(request)
        new = read_batch(given, links_of(services, request).base_url)
        batch = await services.batches.create(new, caller_of(request))
        acted(services, request, "batch.created", batch.id)
        return JSONResponse(batch_object(batch))

    return create_batch


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page of the tenant's batches; for an admin of all tenants, or of the one asked for."""

    async def list_batches(request: Request) -> Response:
        page, tenant = Page.of(request, most=MOST_PAGE), tenant_asked(request, "batches")
        batches, more = await services.batches.page(Cut(page.limit, page.after), tenant, caller_of(request))
        return JSONResponse(batch_list(batches, has_more=more))

    return list_batches


def one_endpoint(services: Services) -> Endpoint:
    """GET: one batch."""

    async def one_batch(request: Request) -> Response:
        found = await services.batches.get(request.path_params["batch_id"], caller_of(request))
        return JSONResponse(batch_object(found))

    return one_batch


def cancel_endpoint(services: Services) -> Endpoint:
    """POST: cancel the batch; lines that are not painted yet will not be."""

    async def cancel_batch(request: Request) -> Response:
        cancelled = await services.batches.cancel(request.path_params["batch_id"], caller_of(request))
        acted(services, request, "batch.cancelled", cancelled.id, cancelled.tenant)
        return JSONResponse(batch_object(cancelled))

    return cancel_batch


def archive_endpoint(services: Services) -> Endpoint:
    """GET: the pictures of a batch as a ZIP archive, streamed."""

    async def archive(request: Request) -> Response:
        batch_id, caller = request.path_params["batch_id"], caller_of(request)
        lines = await _begun(services.batches.answers(batch_id, caller))
        pieces = archived(lines, partial(_picture, services, caller))
        headers = {
            "content-disposition": f'attachment; filename="{batch_id}.zip"',
            "cache-control": "private, no-store",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)

    return archive


async def _begun(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """With the first line read: what is not there is told before anything of the answer was sent."""
    first = await anext(lines, None)

    async def whole() -> AsyncIterator[bytes]:
        if first is not None:
            yield first
            async for line in lines:
                yield line

    return whole()


async def _picture(services: Services, caller: Caller, image_id: str) -> bytes:
    """The bytes of a kept picture of the caller's tenant. Raises NotFound."""
    return await services.images.read(await image_of(services, caller, image_id))
