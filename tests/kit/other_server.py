"""Another server, on loopback: answers by path whatever it is told to, and remembers what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class OtherServer:
    """`answers` are by path; any other path is a 404."""

    answers: Mapping[str, Answering]
    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def host(self) -> str:
        """As `egress.private_hosts` names it."""
        return f"127.0.0.1:{self.port}"

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
            await self.answers.get(head.split(" ")[1], saying(b"", "404 Not Found"))(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def other_server(
    answers: Mapping[str, Answering], port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[OtherServer]:
    """Listens on a free port, or on `port`."""
    made = OtherServer(answers)
    async with await asyncio.start_server(made.serve, "127.0.0.1", port, ssl=tls) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


def saying(body: bytes, status: str = "200 OK", *headers: str) -> Answering:
    """All of it at once."""
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", "")

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + body)

    return answer


def redirecting(location: str, status: str = "302 Found") -> Answering:
    return saying(b"", status, f"location: {location}")


async def endless(writer: asyncio.StreamWriter) -> None:
    """Bytes without end, as fast as they are taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    """A byte now and then: no single read is slow."""
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silent(_: asyncio.StreamWriter) -> None:
    """Nothing for so long that nobody waits for it."""
    await asyncio.sleep(5)
