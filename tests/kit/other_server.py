"""A server on loopback that answers by path as it is told, and records what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

ANY_PATH = "*"
Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class OtherServer:
    """`answers` are by path; other paths get the answer of ANY_PATH, or else a 404."""

    answers: Mapping[str, Answering]
    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def host(self) -> str:
        """The host as it is written in `egress.private_hosts`."""
        return f"127.0.0.1:{self.port}"

    @property
    def said(self) -> list[Any]:
        """The bodies of all requests, parsed as JSON."""
        return [json.loads(body) for body in self.bodies]

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.lower().split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
            self.bodies.append(await reader.readexactly(length))
            self.heads.append(head)
            await self._answering(head.split(" ")[1])(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _answering(self, path: str) -> Answering:
        return self.answers.get(path) or self.answers.get(ANY_PATH) or saying(b"", "404 Not Found")


@asynccontextmanager
async def other_server(
    answers: Mapping[str, Answering], port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[OtherServer]:
    """A server that listens on a free port, or on `port`."""
    made = OtherServer(answers)
    async with await asyncio.start_server(made.serve, "127.0.0.1", port, ssl=tls) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


def same_everywhere(answering: Answering) -> AbstractAsyncContextManager[OtherServer]:
    """A server with one answer to every request."""
    return other_server({ANY_PATH: answering})


def saying(body: bytes, status: str = "200 OK", *headers: str) -> Answering:
    """An answer that is sent at once."""
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", "")

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + body)

    return answer


def redirecting(location: str, status: str = "302 Found") -> Answering:
    return saying(b"", status, f"location: {location}")


async def endless(writer: asyncio.StreamWriter) -> None:
    """Bytes without end, as fast as they are read."""
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, so that no single read is slow."""
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silent(_: asyncio.StreamWriter) -> None:
    """Nothing, for longer than anybody waits."""
    await asyncio.sleep(5)


async def cut_short(writer: asyncio.StreamWriter) -> None:
    """Less than the promised length."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{")


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\n\r\n")
