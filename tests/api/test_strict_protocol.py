"""Tests api/http/strict_protocol.py over raw sockets: heads that servers read differently, and bodies in crumbs."""

from __future__ import annotations

import json

import pytest

from tests.kit.raw_http import GET, connected, served

POST = b"POST / HTTP/1.1\r\nhost: gw\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
REFUSED = {
    "two lengths": POST + b"content-length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "two lengths, other order": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": b"POST / HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "different lengths": POST + b"content-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
    "another encoding": POST + b"transfer-encoding: gzip, chunked\r\n\r\n",
    "version 9.9": GET.replace(b"1.1", b"9.9"),
    "version 2.0": GET.replace(b"1.1", b"2.0"),
    "no version": b"GET /\r\n\r\n",
    "many headers": GET[:-2] + b"a: b\r\n" * 101 + b"\r\n",
    "ten thousand headers": GET[:-2] + b"a: b\r\n" * 10_000 + b"\r\n",
    "a long head": GET[:-2] + b"a: " + b"b" * 33_000 + b"\r\n\r\n",
    "a long target": GET.replace(b"/ ", b"/" + b"a" * 33_000 + b" "),
    "a long host": GET.replace(b"gw", b"g" * 10_000),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET[:-2] + b"host: gw\r\n\r\n",
    "space before the colon": GET.replace(b"host:", b"host :"),
    "no name": GET[:-2] + b": b\r\n\r\n",
    "a NUL": GET[:-2] + b"a: b\0c\r\n\r\n",
}
HOSTS = (b"a b", b"a/b", b"a@b", b"a?b", b"a#b", b"a:b", b"a:123456", b"[::1", b"::1", b"a\\b", b"a,b", b"<a>", b"\xff")
REFUSED |= {f"host {host!r}": GET.replace(b"gw", host) for host in HOSTS}


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED)
async def test_an_unsound_head_is_refused_and_hung_up_on(said: bytes) -> None:
    async with served(3600.0) as house, connected(house) as (reader, writer):
        writer.write(said + GET)
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == "invalid_http"
    assert house.requests == 0


@pytest.mark.parametrize("host", ["gw", "gw:8000", "127.0.0.1:80", "[::1]:80", "my_box.local", "gw:", ""])
async def test_hosts_as_clients_write_them_are_read(host: str) -> None:
    async with served(3600.0) as house, connected(house) as (reader, writer):
        writer.write(GET.replace(b"gw", host.encode()))
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_hundred_headers_are_read() -> None:
    async with served(3600.0) as house, connected(house) as (reader, writer):
        writer.write(GET[:-2] + b"a: b\r\n" * 99 + b"\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_body_in_crumbs_is_refused() -> None:
    async with served(3600.0) as house, connected(house) as (reader, writer):
        writer.write(POST.replace(b"/ ", b"/read ") + CHUNKED + b"\r\n" + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n")
        answer = await reader.read()
        await house.ended.wait()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert house.read_bytes < 2000


@pytest.mark.parametrize(("count", "size"), [(1000, 1), (5000, 76)])
async def test_chunks_as_clients_send_them_are_read(count: int, size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"a" * size)
    async with served(3600.0) as house, connected(house) as (reader, writer):
        for _ in range(2):
            writer.write(POST.replace(b"/ ", b"/read ") + CHUNKED + b"\r\n" + chunk * count + b"0\r\n\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    assert house.read_bytes == 2 * count * size
