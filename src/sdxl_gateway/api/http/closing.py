"""Takes the word that the server ends, gives 503 to those whose request has not wholly arrived yet."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.core.errors import CLOSING, Unavailable

LAST_WORDS_SECONDS = 2.0
"""After a closing server's grace: for what is then said to those who still wait."""


class Closing:
    """Whether a server is ending; `begin` it once, in the event loop."""

    def __init__(self) -> None:
        self._begun = False
        self._waits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """Whoever waits for a request's body stops waiting, and nobody begins to."""
        self._begun = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    async def unless_begun(self, receive: Receive) -> Message:
        """The next message. Raises Unavailable when the server ends before it is there."""
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
    """Stands before an application; requests whose body is not whole end with Unavailable once `closing` has begun."""

    def __init__(self, app: ASGIApp, closing: Closing) -> None:
        self._app = app
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Once the body is whole, what comes next is only whether the client has left: that is waited for as ever."""
        whole = scope["type"] != "http"

        async def received() -> Message:
            nonlocal whole
            message = await receive() if whole else await self._closing.unless_begun(receive)
            whole = whole or message["type"] != "http.request" or not message.get("more_body", False)
            return message

        await self._app(scope, received, send)
