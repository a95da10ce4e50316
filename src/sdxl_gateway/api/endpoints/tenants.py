"""Exports what the server remembers of a tenant, and erases it: for operators."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from sdxl_gateway.api.endpoints.acting import acted
from sdxl_gateway.api.endpoints.seen import caller_of
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.tenants import Erased, erased
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage.remembered import Thing

FORMATS = ("jsonl", "json")
_LINES = {"application/jsonl": {"schema": {"type": "string"}}, "application/json": {"schema": {"type": "object"}}}

EXPORT_TENANT = Description(
    "exportTenantData",
    {200: Reply("All data, one item a line.", content=_LINES)},
    errors=(400,),
    query={"format": {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}},
)
ERASE_TENANT = Description(
    "eraseTenantData",
    {
        200: Reply("What was erased, and what is kept.", Erased),
        202: Reply("The same, while some gateways have still to erase theirs.", Erased),
    },
)


def export_endpoint(services: Services) -> Endpoint:
    """GET: everything remembered of a tenant, as it is read."""

    async def export_data(request: Request) -> Response:
        tenant, form = request.path_params["tenant"], request.query_params.get("format", FORMATS[0])
        if form not in FORMATS:
            raise InvalidRequest(f"Invalid 'format': {shown(form)}. Known are 'jsonl' and 'json'.", param="format")
        things = services.remembered.export(tenant)
        acted(services, request, "tenant.exported", tenant, tenant)
        if form == "json":
            return StreamingResponse(_object(tenant, things), media_type="application/json")
        return StreamingResponse(_lines(things), media_type="application/jsonl")

    return export_data


def erase_endpoint(services: Services) -> Endpoint:
    """DELETE: everything that may go is gone when this is answered with 200, and noted with 202."""

    async def erase_data(request: Request) -> Response:
        tenant, remembered = request.path_params["tenant"], services.remembered
        erasure = await remembered.erase_everywhere(tenant, caller_of(request))
        acted(services, request, "tenant.erased", tenant, tenant, **erasure.gone)
        return JSONResponse(erased(tenant, erasure, remembered.lasting), 200 if erasure.is_whole else 202)

    return erase_data


async def _lines(things: AsyncIterator[Thing]) -> AsyncIterator[str]:
    async for thing in things:
        yield json.dumps(_plain(thing)) + "\n"


async def _object(tenant: str, things: AsyncIterator[Thing]) -> AsyncIterator[str]:
    yield f'{{"object":"tenant.data","tenant":{json.dumps(tenant)},"data":['
    comma = ""
    async for thing in things:
        yield comma + json.dumps(_plain(thing))
        comma = ","
    yield "]}"


def _plain(thing: Thing) -> dict[str, Any]:
    return {"kind": thing.kind, "data": thing.data}
