"""Tests api/http/content_encoding.py: compressed bodies are read, within the same limits once expanded."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from sdxl_gateway.api.http.content_encoding import PIECE_BYTES, expanded
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest
from tests.kit.api import GENERATE, client, served_api
from tests.kit.forms import FORM, file, form, part
from tests.kit.pictures import PNG

Pack = Callable[[bytes], bytes]


def bare(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(data) + packing.flush()


PACKINGS: list[tuple[str, Pack]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("identity", bytes),
]


async def sent(data: bytes, step: int = 2**16) -> AsyncIterator[bytes]:
    for at in range(0, len(data), step):
        yield data[at : at + step]


@pytest.mark.parametrize(("encoding", "pack"), PACKINGS)
async def test_a_compressed_body_is_read(encoding: str, pack: Pack) -> None:
    served = served_api()
    headers = {"content-encoding": encoding}
    async with client(served, headers) as http:
        ask = pack(json.dumps({"prompt": "a cat"}).encode())
        plain = await http.post(GENERATE, content=ask, headers={"content-type": "application/json"})
        picture = pack(form(part("prompt", "a cat"), file("image", PNG)))
        edit = await http.post("/v1/images/edits", content=picture, headers=FORM)
    assert (plain.status_code, edit.status_code) == (200, 200)
    assert [ask.prompt for ask in served.gateway.asks] == ["a cat", "a cat"]
    assert served.gateway.asks[1].images[0].data == PNG


@pytest.mark.parametrize(("encoding", "pack"), PACKINGS[1:5])
@pytest.mark.parametrize("step", [1, 7, 2**16])
async def test_it_may_come_in_any_pieces(encoding: str, pack: Pack, step: int) -> None:
    data = bytes(range(256)) * 100 + bytes(3 * PIECE_BYTES + 1)
    assert b"".join([piece async for piece in expanded(sent(pack(data), step), encoding, len(data))]) == data


BROKEN: dict[str, tuple[str, bytes]] = {
    "cut short": ("gzip", gzip.compress(b"a" * 99)[:-1]),
    "cut short, bare": ("deflate", bare(b"a" * 99)[:-1]),
    "nothing": ("gzip", b""),
    "no gzip": ("gzip", b"{}"),
    "no deflate": ("deflate", b"\xff\xff"),
    "more behind it": ("gzip", gzip.compress(b"a") + b"b"),
    "a second one": ("gzip", gzip.compress(b"a") * 2),
    "a wrong sum": ("gzip", gzip.compress(b"a")[:-8] + bytes(8)),
}


@pytest.mark.parametrize(("encoding", "data"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("step", [1, 2**16])
async def test_a_broken_one_is_refused(encoding: str, data: bytes, step: int) -> None:
    with pytest.raises(InvalidRequest):
        [piece async for piece in expanded(sent(data, step), encoding, 1000)]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_bomb_is_refused_while_it_expands(encoding: str, pack: Pack) -> None:
    bomb = pack(bytes(64 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            assert [
                piece async for piece in expanded(sent(bomb), encoding, 8 * 2**20) if len(piece) > PIECE_BYTES
            ] == []
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


async def test_the_limit_of_bodies_holds_for_what_it_expands_to() -> None:
    body = json.dumps({"prompt": "a" * 5000}).encode()
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    async with client(served_api(server={"max_body_bytes": len(body) - 1}), headers) as http:
        over = await http.post(GENERATE, content=gzip.compress(body))
    async with client(served_api(server={"max_body_bytes": len(body)}), headers) as http:
        fits = await http.post(GENERATE, content=gzip.compress(body))
    assert (over.status_code, over.json()["error"]["code"]) == (413, "request_too_large")
    assert fits.status_code == 200
