"""A batch's pictures come as a ZIP archive that is never whole anywhere but at its reader."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from zipfile import ZipFile

from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.gateway.archive import MISSING, archived

KEPT = "0" * 32


def line(custom_id: str, *pictures: dict[str, Any]) -> bytes:
    body = {"output_format": "png", "data": list(pictures)}
    return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}}).encode() + b"\n"


def b64(data: bytes) -> dict[str, Any]:
    return {"b64_json": base64.b64encode(data).decode()}


def url(image_id: str) -> dict[str, Any]:
    return {"id": image_id, "url": f"http://gw/files/{image_id}.png?expires=1&signature=2"}


async def lines(*given: bytes) -> AsyncIterator[bytes]:
    for one in given:
        yield one


async def read(image_id: str) -> bytes:
    if image_id != KEPT:
        raise NotFound("No such image.")
    return b"kept"


async def unzipped(*given: bytes) -> dict[str, bytes]:
    pieces = [piece async for piece in archived(lines(*given), read)]
    with ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_pictures_are_called_by_their_lines() -> None:
    found = await unzipped(line("cat", b64(b"one"), b64(b"two")), line("dog", url(KEPT)))
    assert found == {"00001-cat-0.png": b"one", "00001-cat-1.png": b"two", "00002-dog.png": b"kept"}


async def test_a_name_leads_nowhere() -> None:
    found = await unzipped(line("../../etc/passwd\0", b64(b"x")), line("C:\\a" + "b" * 300, b64(b"y")))
    assert all(set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyzC._-") for name in found)
    assert max(map(len, found)) < 100


async def test_what_is_gone_is_named_and_what_comes_twice_is_taken_once() -> None:
    found = await unzipped(line("a", b64(b"x")), line("b", url("1" * 32)), line("a", b64(b"x")))
    assert found == {"00001-a.png": b"x", MISSING: b"00002-b.png\n"}


async def test_an_archive_of_nothing_is_one() -> None:
    assert await unzipped() == {}


async def test_one_line_is_in_memory_at_a_time() -> None:
    async def many() -> AsyncIterator[bytes]:
        for place in range(64):
            yield line(str(place), b64(bytes(2**20)))

    tracemalloc.start()
    size = 0
    async for piece in archived(many(), read):
        size += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 64 * 2**20
    assert peak < 12 * 2**20
