"""Fuzz targets: what comes in a request's body, as JSON, as a form or as lines of a batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from sdxl_gateway.admission.prompts.lora_tags import cut_prompt_tags
from sdxl_gateway.admission.prompts.syntax import check_prompt
from sdxl_gateway.api.asks.batches import read_line
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.api.asks.file_upload import FileUpload
from sdxl_gateway.api.asks.forms import collect, read_form
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.model_upload import read_upload
from sdxl_gateway.api.asks.parse import read_ask
from sdxl_gateway.api.http.content_encoding import expanded
from sdxl_gateway.api.http.json_body import parse_object
from sdxl_gateway.api.http.large_json import parse_large
from sdxl_gateway.api.http.multipart import parts
from sdxl_gateway.api.replies.images import ignored_header
from sdxl_gateway.catalog.model_grammar import split_model
from sdxl_gateway.config import Files, Limits
from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.prompt_syntax import A1111
from sdxl_gateway.gateway.batch_lines import check

RULES = Rules(Limits())
FIELDS = fields_of(wire_fields(Limits()), Operation.EDIT)
FORM = "multipart/form-data; boundary=b"
ENDPOINT = "/v1/images/generations"
PIECE_BYTES = 7


def pieces(data: bytes) -> Iterator[bytes]:
    """As a slow network brings them."""
    return (data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))


async def _coming(data: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(data):
        yield piece


def _form_request(data: bytes) -> Request:
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces(data)]
    left = iter([*messages, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(left)

    headers = Headers({"content-type": FORM}).raw
    return Request({"type": "http", "method": "POST", "headers": headers, "query_string": b""}, receive)


def json_body(data: bytes) -> None:
    """The body of a request to paint."""
    read = read_ask(Operation.GENERATE, {"prompt": "a", **parse_object(data)}, RULES)
    Response(headers=ignored_header(read.ignored))


def large_json(data: bytes) -> None:
    """As what large bodies are read with has it, it is what json has."""
    try:
        found = parse_large(bytearray(data), json.loads)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("") from error
    assert repr(found) == repr(json.loads(data.decode("utf-8-sig")))


def form_body(data: bytes) -> None:
    """The same as a form."""

    async def read() -> None:
        read_form(await collect(parts(FORM, _coming(data)), 2**20), FIELDS)

    asyncio.run(read())


def file_form(data: bytes) -> None:
    """A form that brings a picture or a batch."""

    async def read() -> None:
        upload = FileUpload(_form_request(data), Files(), 2**20)
        whole = b"".join([chunk async for chunk in upload.chunks()])
        new = upload.described(len(whole), whole[:64])
        if new.clean is not None:
            new.clean(whole)

    asyncio.run(read())


def lora_form(data: bytes) -> None:
    """A form that brings a LoRA or a checkpoint."""

    async def read() -> None:
        _, _, content = await read_upload(_form_request(data))
        async for _ in content:
            pass

    asyncio.run(read())


def compressed_body(data: bytes) -> None:
    """In gzip, and in deflate."""

    async def read(encoding: str) -> None:
        async for _ in expanded(_coming(data), encoding, 2**20):
            pass

    with suppress(InvalidRequest):
        asyncio.run(read("deflate"))
    asyncio.run(read("gzip"))


def data_url(data: bytes) -> None:
    """A picture as text."""
    read_ask(Operation.EDIT, {"prompt": "a", "image": data.decode("utf-8", "replace")}, RULES)


def model_name(data: bytes) -> None:
    """A model's name, and the same as a prompt with LoRA tags."""
    text = data.decode("utf-8", "replace")
    split_model(text)
    cut_prompt_tags(text)


def prompt(data: bytes) -> None:
    """A prompt with weights."""
    check_prompt(data.decode("utf-8", "replace"), A1111, param="prompt")


def batch_lines(data: bytes) -> None:
    """A batch's file; what is wrong with it is told by line."""
    kept: list[bytes] = []
    found = check(pieces(data), partial(read_line, endpoint=ENDPOINT), kept.append, most_lines=5, most_line_bytes=4096)
    for error in islice(found.errors, 1):
        raise InvalidRequest(error.message, param=error.param)
    assert len(kept) == found.total
