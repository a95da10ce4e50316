"""Limits the size of bodies, and the time in which they must arrive."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.api.http.route import BodyLimit
from sdxl_gateway.core.errors import BodyTooLarge, BodyTooSlow, InvalidRequest


class LimitBody:
    """Middleware that limits the bodies that an application reads."""

    def __init__(self, app: ASGIApp, limit: BodyLimit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises BodyTooLarge, BodyTooSlow, or InvalidRequest for a length that is not a number."""
        _check_declared(scope, self._limit.max_bytes)
        await self._app(scope, LimitedReceive(receive, self._limit), send)


class LimitedReceive:
    """`receive` with a limit of bytes, and a timeout for the whole body or for each piece of it."""

    def __init__(self, receive: Receive, limit: BodyLimit) -> None:
        self._receive = receive
        self._limit = limit
        self._received_bytes = 0
        self._whole = False
        self._deadline = self._next_deadline()

    async def __call__(self) -> Message:
        """The next message. Raises BodyTooLarge or BodyTooSlow."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow("The request body did not arrive in time.") from None
        if self._limit.each_piece:
            self._deadline = self._next_deadline()
        self._count(message)
        return message

    def _next_deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._limit.seconds

    def _count(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._whole = True
            return
        self._received_bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._received_bytes > self._limit.max_bytes:
            raise _too_large(self._limit.max_bytes)


def _check_declared(scope: Scope, max_bytes: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                raise InvalidRequest("The content-length header is not a number.")
            if int(value) > max_bytes:
                raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {max_bytes} bytes.")
