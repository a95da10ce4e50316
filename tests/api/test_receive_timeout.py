"""Tests api/http/receive_timeout.py: clients that leave a request unfinished are hung up on, others not."""

from __future__ import annotations

import pytest

from tests.kit.raw_http import GET, Connection, connected, served


async def hung_up(connection: Connection) -> None:
    assert await connection[0].read() == b""


async def answered(connection: Connection) -> None:
    assert (await connection[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"", b"GET / HT", GET[:-2], b"POST / HTTP/1.1\r\ncontent-le"], ids=repr)
async def test_a_head_that_does_not_come_is_given_up(said: bytes) -> None:
    async with served(0.05) as house, connected(house) as connection:
        connection[1].write(said)
        await hung_up(connection)


async def test_a_second_request_that_does_not_come_whole_is_given_up() -> None:
    async with served(0.05) as house, connected(house) as connection:
        connection[1].write(GET)
        await answered(connection)
        connection[1].write(GET[:9])
        await hung_up(connection)


async def test_a_body_nobody_waits_for_any_more_is_given_up() -> None:
    async with served(0.05) as house, connected(house) as connection:
        connection[1].write(b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 1000\r\n\r\n")
        await answered(connection)
        connection[1].write(b"drop")
        await hung_up(connection)


async def test_who_waits_for_an_answer_may_wait() -> None:
    async with served(0.05) as house, connected(house) as patient, connected(house) as stalled:
        patient[1].write(GET.replace(b"/ ", b"/slow "))
        await house.began.wait()
        await hung_up(stalled)
        house.go.set()
        await answered(patient)


async def test_a_connection_serves_one_request_after_another() -> None:
    async with served(3600.0) as house, connected(house) as connection:
        for _ in range(3):
            connection[1].write(GET[:9])
            connection[1].write(GET[9:])
            await answered(connection)
        connection[1].write(GET + GET)
        await answered(connection)
        await answered(connection)
