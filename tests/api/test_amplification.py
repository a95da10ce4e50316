"""Tests that no body costs a multiple of its size in memory, nor holds up other requests: api/http, api/asks."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.kit.api import GENERATE, client, served_api
from tests.kit.forms import BOUNDARY, FORM, form, part
from tests.kit.pictures import PNG
from tests.kit.wires import Wire, body_of

EDIT = "/v1/images/edits"
JSON = {"content-type": "application/json"}
SIZE = 6 * 2**20
# What a small request costs too, and the texts that are read at four bytes a character.
BESIDE_BYTES = 24 * 2**20
# Of a machine that others use as well; an honest answer stays far below.
LONGEST_GAP_SECONDS = 1.0


def image(text: str) -> bytes:
    return b'{"prompt":"a","images":[{"image_url":"' + text.encode() + b'"}]}'


def unknown(value: bytes) -> bytes:
    return b'{"prompt":"a","x":' + value + b"}"


Made = Callable[[], bytes]
BODIES: dict[str, tuple[str, dict[str, str], Made]] = {
    "a head of semicolons": (EDIT, JSON, lambda: image("data:" + ";" * SIZE)),
    "a head of types": (EDIT, JSON, lambda: image("data:" + ";a" * (SIZE // 2) + ";base64,")),
    "space in base64": (EDIT, JSON, lambda: image("data:image/png;base64," + "A " * (SIZE // 2))),
    "escaped space": (EDIT, JSON, lambda: image("A\\n" * (SIZE // 3))),
    "space alone": (EDIT, JSON, lambda: image(" " * SIZE)),
    "not ascii": (EDIT, JSON, lambda: image("A" * SIZE + "😀")),
    "one emoji elsewhere": (EDIT, JSON, lambda: '{"prompt":"😀",'.encode() + image("A" * SIZE)[1:]),
    "lists": (GENERATE, JSON, lambda: unknown(b"[" + b"[]," * (SIZE // 3) + b"0]")),
    "numbers": (GENERATE, JSON, lambda: unknown(b"[" + b"7," * (SIZE // 2) + b"0]")),
    "keys": (GENERATE, JSON, lambda: b"{" + b"".join(b'"%d":0,' % n for n in range(600_000)) + b'"a":0}'),
    "nesting": (GENERATE, JSON, lambda: unknown(b"[" * SIZE)),
    "escapes": (GENERATE, JSON, lambda: unknown(b'"' + b"\\u4e00" * (SIZE // 6) + b'"')),
    "quotation marks": (GENERATE, JSON, lambda: unknown(b'"' + b'\\"' * (SIZE // 2) + b'"')),
    "backslashes": (GENERATE, JSON, lambda: unknown(b'"' + b"\\\\" * (SIZE // 2) + b'"')),
    "lists in a text": (GENERATE, JSON, lambda: b'{"prompt":"a","loras":"[' + b"[]," * (SIZE // 3) + b'"}'),
    "urlencoded": (
        GENERATE,
        {"content-type": "application/x-www-form-urlencoded"},
        lambda: b"prompt=a&x=" + b"%41" * (SIZE // 3),
    ),
    "ampersands": (GENERATE, {"content-type": "application/x-www-form-urlencoded"}, lambda: b"&" * SIZE),
    "a form's text": (GENERATE, FORM, lambda: form(part("prompt", "a"), part("x", "a" * SIZE + "😀"))),
    "a form's picture": (EDIT, FORM, lambda: form(part("prompt", "a"), part("image", "A" * SIZE + "😀"))),
    "a form's header": (EDIT, FORM, lambda: form(part("a" * SIZE, "a"))),
    "a form's headers": (EDIT, FORM, lambda: f"--{BOUNDARY}\r\n".encode() + b"a: b\r\n" * (SIZE // 6)),
    "a form's near ends": (EDIT, FORM, lambda: form(part("image", b"\r\n--fronti" * (SIZE // 10)))),
    "a form's line ends": (EDIT, FORM, lambda: form(part("image", b"\r\n" * (SIZE // 2)))),
    "a form's json": (GENERATE, FORM, lambda: form(part("prompt", "a"), part("extra_body", "[" + "[]," * (SIZE // 3)))),
}


@pytest.mark.parametrize(("path", "headers", "made"), BODIES.values(), ids=BODIES)
async def test_a_body_costs_what_it_weighs(path: str, headers: dict[str, str], made: Made) -> None:
    body = made()
    sent = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    wire = Wire(served_api().app, path, headers=headers)
    async with watched() as gaps:
        tracemalloc.start()
        try:
            for piece in sent:
                wire.push(piece, more=True)
            wire.push(b"")
            start, *_ = await wire.rest()
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert start["status"] in (200, 400, 413)
    assert peak_bytes < 3 * len(body) + BESIDE_BYTES
    assert max(gaps) < LONGEST_GAP_SECONDS


@asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """How long each turn of the loop took meanwhile."""
    gaps: list[float] = [0.0]
    clock = asyncio.get_running_loop().time

    async def watch() -> None:
        while True:
            before = clock()
            await asyncio.sleep(0.005)
            gaps.append(clock() - before)

    watching = asyncio.create_task(watch())
    try:
        yield gaps
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:image/png;charset=utf-8;name=a.png;BASE64,", ""])
async def test_pictures_come_through_large_bodies_whole(head: str) -> None:
    picture = PNG + bytes(range(256)) * 400
    text = base64.encodebytes(picture).decode().replace("\n", "\r\n")
    body = json.dumps({"prompt": "😀 日本", "images": [head + text]}, ensure_ascii=False)
    served = served_api()
    async with client(served) as http:
        answers = [
            await http.post(EDIT, headers=JSON, content=body.encode()),
            await http.post(EDIT, headers=JSON, content=body.replace("/", "\\/").encode()),
        ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [ask.images[0].data for ask in served.gateway.asks] == [picture, picture]
    assert served.gateway.asks[0].prompt == "😀 日本"


async def test_a_body_that_is_no_form_has_a_limit_of_its_own() -> None:
    served = served_api(limits={"max_image_bytes": 1000})
    wire = Wire(served.app, GENERATE, headers=JSON)
    for _ in range(9):
        wire.push(b" " * 2**19, more=True)
    wire.push(b"")
    start, *rest = await wire.rest()
    assert start["status"] == 413
    assert b"request_too_large" in body_of(rest)
