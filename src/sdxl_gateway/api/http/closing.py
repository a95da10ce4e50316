"""Answers requests that have not arrived completely with 503 when the server ends."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.core.errors import CLOSING, Unavailable

LAST_WORDS_SECONDS = 2.0
"""The time after a closing server's grace in which those who still wait are answered."""


class Closing:
    """Whether the server is ending; `begin` is called once, in the event loop."""

    def __init__(self) -> None:
        self._begun = False
        self._waits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """End all waits for request bodies, now and from now on."""
        self._begun = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    async def unless_begun(self, receive: Receive) -> Message:
        """The next message. Raises Unavailable when the server ends before it arrives."""
        if self._begun:
            raise Unavailable(CLOSING)
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                try:
                    return await receive()
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            raise Unavailable(CLOSING) from None


class TurnAwayUnfinished:
    """Middleware: requests whose body is incomplete end with Unavailable once `closing` has begun."""

    def __init__(self, app: ASGIApp, closing: Closing) -> None:
        self._app = app
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """After the complete body the only message is the client's disconnect, which is waited for as usual."""
        whole = scope["type"] != "http"

        async def received() -> Message:
            nonlocal whole
            message = await receive() if whole else await self._closing.unless_begun(receive)
            whole = whole or message["type"] != "http.request" or not message.get("more_body", False)
            return message

        await self._app(scope, received, send)
