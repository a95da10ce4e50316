"""A server for tests with raw sockets, around an application that answers ok."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from sdxl_gateway.api.http.door import Door
from sdxl_gateway.api.http.receive_timeout import protocol_with_timeout

GET = b"GET / HTTP/1.1\r\nhost: gw\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class House:
    """Answers at once; under `/slow` when `go` is set, and under `/read` when it has read the body.

    Under `/wait` it never answers, and ends when the client disconnects.
    """

    port: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    requests: int = 0
    read_bytes: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += scope["type"] == "http"
        try:
            await self._answer(scope, receive, send)
        finally:
            self.ended.set()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.began.set()
            await self.go.wait()
        if scope["path"] == "/wait":
            self.began.set()
            await self._left(receive)
            return
        if scope["path"] == "/read" and not await self._read(receive):
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue

    async def _read(self, receive: Receive) -> bool:
        """Read the body; whether it was complete."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            self.read_bytes += len(message.get("body", b""))
            more = message.get("more_body", False)
        return True


@asynccontextmanager
async def served(seconds: float = 3600.0, door: Door | None = None) -> AsyncIterator[House]:
    house = House()
    protocol = protocol_with_timeout(seconds, door)
    config = uvicorn.Config(house, http=protocol, log_config=None, timeout_keep_alive=3600)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        house.port = server.sockets[0].getsockname()[1]
        yield house


@asynccontextmanager
async def connected(house: House) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.close()
