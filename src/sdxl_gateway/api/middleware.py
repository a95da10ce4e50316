"""What every request passes on its way in, as plain ASGI: a name and a last resort, the door, the body guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.api.errors import refusal_code, refusing, unexpected
from sdxl_gateway.api.keyring import Keyring
from sdxl_gateway.api.visit import Visit, begin_visit, visit_of
from sdxl_gateway.api.world import RequestSeen
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import BodyTooLarge, BodyTooSlow, GatewayError, InvalidRequest

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json"})
OPEN_PREFIX = "/files/"
FORM_OVERHEAD_BYTES = 64 * 1024


class Reception:
    """Names each request, tells how it went, and answers what nothing else answered."""

    def __init__(self, app: ASGIApp, on_request: Callable[[RequestSeen], None]) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit, status, sent_bytes = begin_visit(scope), 499, 0

        async def signed(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = visit.request_id
            await send(message)
            sent_bytes += len(message.get("body", b""))

        try:
            await self._app(scope, receive, signed)
        except ClientDisconnect:
            log.debug("the client of %s went away", visit.request_id)
        except Exception:
            log.exception("request %s ended in an unexpected error", visit.request_id)
            if status != 499:
                raise
            await unexpected()(scope, receive, signed)
        finally:
            self._on_request(_seen(scope, visit, status, sent_bytes))


class Door:
    """Lets in who holds a key; every route is behind it unless it is named open."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keyring = Keyring(settings.auth)
        self._open = OPEN_PATHS if settings.auth.protect_metrics else OPEN_PATHS | {"/metrics"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            try:
                visit_of(scope).caller = self._keyring.caller(scope)
            except GatewayError as error:
                await refusing(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path.startswith(OPEN_PREFIX)


class BodyGuard:
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
        is_lora = visit_of(scope).operation == "loras"
        cap = self._max_lora_bytes if is_lora else self._max_bytes
        try:
            _check_declared(scope, cap)
        except GatewayError as error:
            await refusing(scope, error)(scope, receive, send)
            return
        await self._app(scope, _Guarded(receive, cap, self._seconds, renewing=is_lora), send)


class _Guarded:
    """`receive` with a byte cap and a deadline: for the whole body, or for each piece of a large file (`renewing`)."""

    def __init__(self, receive: Receive, cap: int, seconds: float, *, renewing: bool) -> None:
        self._receive = receive
        self._cap = cap
        self._seconds = seconds
        self._renewing = renewing
        self._seen = 0
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
        self._seen += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._seen > self._cap:
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


def _seen(scope: Scope, visit: Visit, status: int, sent_bytes: int) -> RequestSeen:
    headers = dict(scope["headers"])
    retry = headers.get(b"x-stainless-retry-count", b"0")
    return RequestSeen(
        operation=visit.operation,
        model=visit.model,
        status=status,
        seconds=visit.seconds,
        retry_count=int(retry) if retry.isdigit() and len(retry) < 4 else 0,
        request_id=visit.request_id,
        tenant=visit.caller.tenant,
        ignored=visit.ignored,
        painting=visit.paints,
        refused=refusal_code(visit.error) if visit.paints else None,
        response_bytes=sent_bytes,
    )
