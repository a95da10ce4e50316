"""Takes one request, sends it so often over so many connections at once, gives what was answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Flooded:
    """How many answers of each status came, in how many seconds; `unanswered` got none, or a broken one."""

    answers: Counter[int]
    unanswered: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.answers.total() / self.seconds


def flood(url: str, request: bytes, requests: int, at_once: int) -> Flooded:
    """`requests` in all, each connection's one after another."""
    return asyncio.run(_flood(url, request, requests // at_once, at_once))


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A request as it goes over the wire; header names have dashes for underscores."""
    lines = [f"POST {path} HTTP/1.1", "host: gateway", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *(f"{name.replace('_', '-')}: {told}" for name, told in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _flood(url: str, request: bytes, each: int, at_once: int) -> Flooded:
    answers: Counter[int] = Counter()
    start = time.perf_counter()
    ends = await asyncio.gather(*(_asked(url, request, each, answers) for _ in range(at_once)), return_exceptions=True)
    told = [end for end in ends if isinstance(end, BaseException)]
    if told:
        print(f"{len(told)} connections ended early, the first in {told[0]!r}")
    return Flooded(answers, each * at_once - answers.total(), time.perf_counter() - start)


async def _asked(url: str, request: bytes, times: int, answers: Counter[int]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), _connected(url) as (reader, writer):
        for _ in range(times):
            writer.write(request)
            answers[await _status(reader)] += 1


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Of one answer, which is read to its end."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    lengths = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
    await reader.readexactly(lengths[0])
    return int(first.split()[1])
