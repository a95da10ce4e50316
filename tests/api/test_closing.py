"""Tests api/http/closing.py: whoever has not sent a whole request when the server ends is told so, nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.kit.api import GENERATE, FakeGateway, client, served_api


async def test_a_body_that_stopped_coming_is_answered_503() -> None:
    served = served_api()
    stuck = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b'{"prompt": '
        stuck.set()
        await asyncio.Event().wait()

    async with client(served) as http, asyncio.timeout(20):
        asking = asyncio.create_task(http.post(GENERATE, content=half(), headers={"content-type": "application/json"}))
        await stuck.wait()
        served.closing.begin()
        answer = await asking
        later = await http.post(GENERATE, json={"prompt": "a"})
    for one in (answer, later):
        assert (one.status_code, one.json()["error"]["message"]) == (503, "The server is closing.")
    assert served.gateway.asks == []


async def test_whoever_asked_in_time_gets_the_picture() -> None:
    painter = FakeGateway(hold=asyncio.Event())
    served = served_api(painter)
    async with client(served) as http, asyncio.timeout(20):
        asking = asyncio.create_task(http.post(GENERATE, json={"prompt": "a"}))
        await painter.began.wait()
        served.closing.begin()
        assert painter.hold is not None
        painter.hold.set()
        answer = await asking
    assert answer.status_code == 200
