from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from sdxl_gateway.api.http.turns import InTurn, Turns


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_few_begin_in_each_round_in_the_order_they_came() -> None:
    turns, begun = Turns(3), list[int]()

    async def one(number: int) -> None:
        await turns.next()
        begun.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(10)]
    most = 0
    while len(begun) < 10:
        before = len(begun)
        await rounds(1)
        most = max(most, len(begun) - before)
    await asyncio.gather(*tasks)
    assert begun == list(range(10))
    assert most <= 3


async def test_who_leaves_takes_nobodys_turn() -> None:
    turns = Turns(1)
    await turns.next()
    leaving, staying = (asyncio.create_task(turns.next()) for _ in range(2))
    await rounds(1)
    leaving.cancel()
    async with asyncio.timeout(1):
        await staying


async def test_who_reads_does_not_wait_for_a_thousand_who_send() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        sent += scope["method"] == "POST"

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None: ...

    door = InTurn(app, Turns(4))
    senders = [asyncio.create_task(door({"type": "http", "method": "POST"}, receive, send)) for _ in range(1000)]
    await rounds(2)
    await door({"type": "http", "method": "GET"}, receive, send)
    assert sent < 20
    await asyncio.gather(*senders)
    assert sent == 1000
