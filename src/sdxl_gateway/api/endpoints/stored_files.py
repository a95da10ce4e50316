"""Takes in files, lists them, hands their bytes out and deletes them: each tenant's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from sdxl_gateway.api.asks.expiry import EXPIRY_SCHEMA
from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.file_upload import FileUpload
from sdxl_gateway.api.asks.pages import Page, page_query
from sdxl_gateway.api.asks.values import choice
from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import tenant_of
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.openapi.schemas import file
from sdxl_gateway.api.replies.stored_files import (
    FileDeleted,
    FileList,
    FileObject,
    file_deleted,
    file_list,
    file_object,
)
from sdxl_gateway.api.services import Services
from sdxl_gateway.storage.file_table import Purpose, StoredFile
from sdxl_gateway.storage.pages import Cut

MOST_PAGE = 10_000
"""Who asks for no number is given as many, as at OpenAI."""
_ORDER = Field("order", Kind.CHOICE, "By the time they were made.", choices=("asc", "desc"))

_FORM = {
    "type": "object",
    "properties": {
        "file": file(),
        "purpose": {"type": "string", "enum": [Purpose.VISION, Purpose.BATCH]},
        "expires_after": EXPIRY_SCHEMA,
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
    "required": ["file", "purpose"],
}
CREATE_FILE = Description(
    "createFile",
    {200: Reply("The file as it is kept.", FileObject)},
    errors=(400, 408, 413, 415, 507),
    reads={"multipart/form-data": {"schema": _FORM}},
)
LIST_FILES = Description(
    "listFiles",
    {200: Reply("A page of the files.", FileList)},
    errors=(400,),
    query={
        **page_query(MOST_PAGE, MOST_PAGE),
        "order": {"type": "string", "enum": ["asc", "desc"]},
        "purpose": {"type": "string"},
    },
)
RETRIEVE_FILE = Description("retrieveStoredFile", {200: Reply("The file.", FileObject)}, errors=(404,))
FILE_CONTENT = Description(
    "downloadFile", {200: Reply("Its bytes.", content={"application/octet-stream": {}})}, errors=(404, 410)
)
DELETE_FILE = Description("deleteFile", {200: Reply("The file is gone.", FileDeleted)}, errors=(404,))


def create_endpoint(services: Services) -> Endpoint:
    """POST: keeps a file."""
    settings = services.settings

    async def create_file(request: Request) -> Response:
        upload = FileUpload(request, settings.files, settings.limits.max_image_bytes)
        stored = await services.files.receive(tenant_of(request), upload.chunks(), upload.described)
        return JSONResponse(file_object(stored))

    return create_file


def list_endpoint(services: Services) -> Endpoint:
    """GET: a page of the files, of one purpose if that is asked."""

    async def list_files(request: Request) -> Response:
        page = Page.of(request, MOST_PAGE, MOST_PAGE)
        order = choice(_ORDER, request.query_params.get("order", "desc"), "order")
        cut = Cut(page.limit, page.after, newest_first=order == "desc")
        files, more = await services.files.page(tenant_of(request), cut, request.query_params.get("purpose"))
        return JSONResponse(file_list(files, has_more=more))

    return list_files


def one_endpoint(services: Services) -> Endpoint:
    """GET: one file, but for its bytes."""

    async def one_file(request: Request) -> Response:
        return JSONResponse(file_object(await _found(services, request)))

    return one_file


def content_endpoint(services: Services) -> Endpoint:
    """GET: a file's bytes."""

    async def content(request: Request) -> Response:
        found = await _found(services, request)
        pieces = await asyncio.to_thread(lambda: _begun(services.files.pieces(found)))
        return StreamingResponse(pieces, media_type="application/octet-stream", headers=_headers(found))

    return content


def delete_endpoint(services: Services) -> Endpoint:
    """DELETE: the file and its bytes are gone."""

    async def delete_file(request: Request) -> Response:
        deleted = await services.files.delete(request.path_params["file_id"], tenant_of(request))
        acted(services, request, "file.deleted", request.path_params["file_id"])
        return JSONResponse(file_deleted(deleted))

    return delete_file


async def _found(services: Services, request: Request) -> StoredFile:
    return await services.files.find(request.path_params["file_id"], tenant_of(request))


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """With the first piece read: what cannot be read is told before anything of the answer was sent."""
    return chain([next(pieces, b"")], pieces)


def _headers(found: StoredFile) -> dict[str, str]:
    """A browser saves it and takes it for nothing else."""
    return {
        "content-length": str(found.bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
    }
