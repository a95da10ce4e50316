"""Tests api/http/door.py, and the protocol at it: too many connections, and clients that say no more."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack

import pytest

from sdxl_gateway.api.http.door import MAX_LINGERING, Door
from tests.kit.raw_http import GET, House, connected, served


def test_there_is_room_for_so_many() -> None:
    door = Door(max_connections=3, max_per_address=2)
    assert [door.enter("a"), door.enter("a"), door.enter("a"), door.enter("b"), door.enter("c")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    door.leave("a")
    assert [door.enter("c"), door.enter("c")] == [True, False]


def test_no_limit_is_none() -> None:
    door = Door()
    assert all(door.enter("a") for _ in range(1000))


def test_who_left_is_forgotten() -> None:
    door = Door()
    for index in range(1000):
        door.enter(str(index))
        door.leave(str(index))
    assert len(door._inside) == 0


def test_the_log_is_told_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    door = Door(max_connections=1, clock=lambda: now)
    door.enter("a")
    with caplog.at_level(logging.WARNING):
        for tenth in range(25):
            now = tenth / 10
            door.enter("b")
    assert [record.getMessage().split()[0] for record in caplog.records] == ["1", "10", "10"]


async def test_one_too_many_is_told_so_and_later_there_is_room() -> None:
    async with served(door=Door(max_connections=1)) as house:
        async with connected(house) as first:
            async with connected(house) as (reader, writer):
                writer.write(GET)
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: " in head
            assert json.loads(body)["error"]["code"] == "server_is_overloaded"
            first[1].write(GET)
            assert (await first[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await _until_answered(house)
    assert house.requests == 2


async def test_a_flood_is_hung_up_on() -> None:
    async with served(door=Door(max_connections=1)) as house, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(house)) for _ in range(MAX_LINGERING + 21)]
        said = await asyncio.gather(*(_said(reader) for reader, _ in streams[1:]))
    assert sum(words.startswith(b"HTTP/1.1 503") for words in said) == MAX_LINGERING
    assert said.count(b"") == 20


async def _said(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def _until_answered(house: House) -> None:
    while True:
        async with connected(house) as (reader, writer):
            writer.write(GET)
            if (await reader.read(12)) == b"HTTP/1.1 200":
                return


@pytest.mark.parametrize("path", [b"/", b"/slow"])
async def test_who_says_no_more_gets_an_answer(path: bytes) -> None:
    async with served() as house, connected(house) as (reader, writer):
        writer.write(GET.replace(b"/ ", path + b" "))
        writer.write_eof()
        asyncio.get_running_loop().call_later(0.2, house.go.set)
        answer = await reader.read()
    *before, last = answer.split(b"HTTP/1.1 ")[1:]
    assert {words[:12] for words in before} <= {b"100 Continue"}
    assert last.startswith(b"200")
    assert last.endswith(b"ok")


async def test_who_is_gone_is_found_out() -> None:
    async with served() as house:
        async with connected(house) as (_, writer):
            writer.write(b"POST /wait HTTP/1.1\r\nhost: gw\r\ncontent-length: 0\r\n\r\n")
            await house.began.wait()
        async with asyncio.timeout(10):
            await house.ended.wait()


async def test_half_a_request_is_none() -> None:
    async with served() as house, connected(house) as (reader, writer):
        writer.write(b"POST /read HTTP/1.1\r\nhost: gw\r\ncontent-length: 10\r\n\r\nabc")
        writer.write_eof()
        assert await reader.read() == b""
