"""Counts a body's bytes as they come, and gives them a time to come in."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.api.http.errors import refusing
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import BodyTooLarge, BodyTooSlow, GatewayError, InvalidRequest

FORM_OVERHEAD_BYTES = 64 * 1024


class BodyLimitMiddleware:
    """Counts a body's bytes as they come and gives them a time to come in; a LoRA file has a cap of its own."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max_bytes = settings.server.max_body_bytes
        self._max_lora_bytes = settings.loras.max_file_bytes + FORM_OVERHEAD_BYTES
        self._seconds = settings.server.receive_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_lora = context_of(scope).operation == "loras"
        cap = self._max_lora_bytes if is_lora else self._max_bytes
        try:
            _check_declared(scope, cap)
        except GatewayError as error:
            await refusing(scope, error)(scope, receive, send)
            return
        await self._app(scope, LimitedReceive(receive, cap, self._seconds, renewing=is_lora), send)


class LimitedReceive:
    """`receive` with a byte cap and a deadline: for the whole body, or for each piece of a large file (`renewing`)."""

    def __init__(self, receive: Receive, cap: int, seconds: float, *, renewing: bool) -> None:
        self._receive = receive
        self._cap = cap
        self._seconds = seconds
        self._renewing = renewing
        self._answered = 0
        self._whole = False
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow("The request body did not arrive in time.") from None
        if self._renewing:
            self._deadline = asyncio.get_running_loop().time() + self._seconds
        self._count(message)
        return message

    def _count(self, message: Message) -> None:
        if message["type"] != "http.request":
            self._whole = True
            return
        self._answered += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._answered > self._cap:
            raise _too_large(self._cap)


def _check_declared(scope: Scope, cap: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                raise InvalidRequest("The content-length header is not a number.")
            if int(value) > cap:
                raise _too_large(cap)


def _too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {cap} bytes.")
