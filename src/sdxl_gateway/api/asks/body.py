"""Reads the body of a request to paint, of any supported content type, as an Ask; large bodies in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from sdxl_gateway.api.asks.forms import MAX_TEXTS_BYTES, Part, collect, parse_urlencoded, read_files, read_form
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk, read_ask
from sdxl_gateway.api.http.content_encoding import expanded
from sdxl_gateway.api.http.json_body import SMALL_BYTES, media_type, parse_object, unknown_media, whole_body
from sdxl_gateway.api.http.multipart import parts
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import UnsupportedMedia

JSON_TYPES = ("application/json", "text/plain", "")


async def ask_of(request: Request, operation: Operation, rules: Rules, max_body_bytes: int) -> ReadAsk:
    """Read and parse the body, which may be compressed; `max_body_bytes` limits its decompressed size.

    Raises a GatewayError for a body that is no valid Ask.
    """
    model = request.path_params.get("deployment")
    encoding = request.headers.get("content-encoding", "")
    chunks = expanded(request.stream(), encoding, max_body_bytes)
    kind = media_type(request)
    if kind == "multipart/form-data":
        found = await collect(parts(request.headers["content-type"], chunks), _max_part_bytes(rules))
        size = sum(len(part.data) for part in found)
        return await _in_thread(size, lambda: _from_form(found, operation, rules, model))
    body = await whole_body(chunks, _max_part_bytes(rules) + MAX_TEXTS_BYTES)
    if kind == "application/x-www-form-urlencoded" and not body[:1024].lstrip().startswith(b"{"):
        return await _in_thread(len(body), lambda: _from_form(parse_urlencoded(body), operation, rules, model))
    if kind not in (*JSON_TYPES, "application/x-www-form-urlencoded") and not kind.endswith("+json"):
        raise UnsupportedMedia(
            f"Unsupported content type {unknown_media(request)}. Send application/json or multipart/form-data."
        )
    return await _in_thread(len(body), lambda: read_ask(operation, parse_object(body), rules, model=model))


def _from_form(found: list[Part], operation: Operation, rules: Rules, model: str | None) -> ReadAsk:
    form = read_form(found, rules.table)
    files = read_files(form, rules.table, rules.limits.max_image_bytes)
    return read_ask(operation, form.texts, rules, files=files, model=model)


def _max_part_bytes(rules: Rules) -> int:
    """The most bytes of one part: base64 text is a third longer than the picture it encodes."""
    return rules.limits.max_image_bytes * 3 // 2 + 1024


async def _in_thread(size: int, work: Callable[[], ReadAsk]) -> ReadAsk:
    return work() if size < SMALL_BYTES else await asyncio.to_thread(work)
