"""A server of another's that answers as it is told to: whole, for ever, or nothing that can be read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class JsonServer:
    """Answers every request with the same bytes, or as it is told to; remembers what it was sent."""

    answering: Answering
    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.lower().split("\r\n") if "content-length" in line)
        self.heads.append(head)
        self.bodies.append(json.loads(await reader.readexactly(length)))
        try:
            await self.answering(writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def json_server(answering: Answering) -> AsyncIterator[JsonServer]:
    made = JsonServer(answering)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


def whole(body: bytes, status: str = "200 OK") -> Answering:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)

    return answer


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


async def trickling(writer: asyncio.StreamWriter) -> None:
    """A byte now and then: no single read is slow."""
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silent(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def cut_short(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{")


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\n\r\n")
