"""The three endpoints that paint: they read the Ask, have the gateway paint it, and answer whole or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sdxl_gateway.api.asks.body import ask_of
from sdxl_gateway.api.asks.fields import wire_fields
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk
from sdxl_gateway.api.asks.preferences import prefers_job, refuse_webhook
from sdxl_gateway.api.endpoints.jobs import ACCEPTED, accepted, accepted_before
from sdxl_gateway.api.endpoints.links import links_of
from sdxl_gateway.api.endpoints.once import once
from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.disconnect import close, while_connected
from sdxl_gateway.api.http.route import EVENT_SCHEMA, Description, Endpoint, Reply
from sdxl_gateway.api.openapi.schemas import body_schema
from sdxl_gateway.api.replies.events import event_names
from sdxl_gateway.api.replies.images import (
    ImagesResponse,
    Outcome,
    ReplyStyle,
    accepted_headers,
    ignored_header,
    reply,
    warning_header,
)
from sdxl_gateway.api.replies.stream import PaintingStream
from sdxl_gateway.api.services import Services
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import EngineFault
from sdxl_gateway.core.stored_job import JobKey
from sdxl_gateway.gateway.events import Accepted, Done, Item, Presented, Withheld

ERRORS = (400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504, 507)
_NAMES = {
    Operation.GENERATE: "createImage",
    Operation.EDIT: "createImageEdit",
    Operation.VARY: "createImageVariation",
}


def description(limits: Limits, operation: Operation) -> Description:
    """The description of one operation, under the operator's limits."""
    events = event_names(operation)
    stream = {"text/event-stream": {"schema": EVENT_SCHEMA, "x-events": events}} if events else {}
    return Description(
        _NAMES[operation],
        {200: Reply("The pictures.", ImagesResponse, content=stream), 202: ACCEPTED},
        errors=ERRORS,
        reads={
            "application/json": {"schema": body_schema(limits, operation, form=False)},
            "multipart/form-data": {"schema": body_schema(limits, operation, form=True)},
        },
    )


def paint_endpoint(services: Services, operation: Operation) -> Endpoint:
    """POST: paint, as one operation."""
    server = services.settings.server
    limits = services.settings.limits
    rules = Rules(limits, server.strict, wire_fields(limits))

    async def paint(request: Request) -> Response:
        context = context_of(request.scope)
        read = await ask_of(request, operation, rules, server.max_body_bytes)
        context.model, context.ignored = read.ask.model or "", read.ignored
        if not prefers_job(request):
            refuse_webhook(read.ask)
            read = _unwatched(read)
            context.ignored = read.ignored
        again = partial(accepted_before, services, request, read)
        return await once(services, request, read.ask, partial(painted, request, read), again)

    async def painted(request: Request, read: ReadAsk, key: JobKey | None) -> Response:
        context = context_of(request.scope)
        read = replace(read, ask=await services.pictures.brought(read.ask, context.caller))
        if prefers_job(request):
            return await accepted(services, request, read, key)
        style = ReplyStyle.of(read.ask, links_of(services, request))
        items = services.gateway.paint(read.ask, context.caller, keep=style.url, must_keep=style.by_address_alone)
        if read.ask.stream:
            return await _streamed(services, request, read, style, items)
        return await _whole(request, read, style, items)

    return paint


def _unwatched(read: ReadAsk) -> ReadAsk:
    """The same without partial images, which only streams have."""
    if read.ask.stream or not read.ask.partial_images:
        return read
    return replace(read, ask=replace(read.ask, partial_images=0), ignored=(*read.ignored, "partial_images"))


async def _whole(request: Request, read: ReadAsk, style: ReplyStyle, items: AsyncIterator[Item]) -> Response:
    outcome = await while_connected(request.receive, _gathered(style, items))
    body = await asyncio.to_thread(reply, outcome)
    headers = ignored_header(read.ignored) | warning_header(outcome.done) | accepted_headers(outcome.accepted)
    return Response(body, media_type="application/json", headers=headers)


async def _streamed(
    services: Services, request: Request, read: ReadAsk, style: ReplyStyle, items: AsyncIterator[Item]
) -> Response:
    """Refusals are plain HTTP errors; from the first item on, everything is in the stream."""
    first = await while_connected(request.receive, _first(items))
    return PaintingStream(
        read.ask.operation,
        style,
        first,
        items,
        headers=ignored_header(read.ignored) | accepted_headers(first),
        ping_seconds=services.ping_seconds,
        grace_seconds=services.settings.server.shutdown_grace_seconds,
    )


async def _first(items: AsyncIterator[Item]) -> Accepted:
    try:
        first = await anext(items, None)
        if not isinstance(first, Accepted):
            raise EngineFault("No picture came out.")
    except BaseException:
        await close(items)
        raise
    return first


async def _gathered(style: ReplyStyle, items: AsyncIterator[Item]) -> Outcome:
    """All items of one request; the iterator is closed in any case."""
    begun: Accepted | None = None
    done: Done | None = None
    presented: list[Presented] = []
    withheld: list[Withheld] = []
    try:
        async for item in items:
            if isinstance(item, Accepted):
                begun = item
            elif isinstance(item, Presented):
                presented.append(item)
            elif isinstance(item, Withheld):
                withheld.append(item)
            elif isinstance(item, Done):
                done = item
    finally:
        await close(items)
    if begun is None or done is None:
        raise EngineFault("No picture came out.")
    return Outcome(style, begun, tuple(presented), done, tuple(withheld))
