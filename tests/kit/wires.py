"""Drives an application by ASGI messages, as a server would."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message


class Wire:
    """One request in flight: `push` what the client sends, `pull` what it gets."""

    def __init__(self, app: ASGIApp, path: str, *, method: str = "POST", headers: dict[str, str] | None = None) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("gw", 80),
        }
        self.task = asyncio.ensure_future(app(self.scope, self._inbox.get, self._outbox.put))

    def push(self, body: bytes, *, more: bool = False) -> None:
        self._inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def pull(self) -> Message:
        async with asyncio.timeout(20):
            return await self._outbox.get()

    async def rest(self) -> list[Message]:
        """All messages until the application returned."""
        async with asyncio.timeout(20):
            await self.task
        return [self._outbox.get_nowait() for _ in range(self._outbox.qsize())]


def body_of(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)
