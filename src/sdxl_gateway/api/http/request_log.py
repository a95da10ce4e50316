"""Gives every request an id, announces its outcome, and answers unexpected errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdxl_gateway.api.http.context import RequestContext, begin_context
from sdxl_gateway.api.http.errors import code_of, refusal_code, unexpected
from sdxl_gateway.core.events import RequestAnswered
from sdxl_gateway.core.trace import current

log = logging.getLogger(__name__)

_CLIENT_ID = re.compile(rb"[ -~]{1,512}")
"""As OpenAI takes it in X-Client-Request-Id."""

ANSWER_HEADERS = {
    "x-request-id": "The request's name in the server's log.",
    "openai-processing-ms": "Milliseconds until the answer began.",
}


class RequestLogMiddleware:
    """The outermost middleware: `on_request` hears of each request once, when its answer has ended."""

    def __init__(self, app: ASGIApp, on_request: Callable[[RequestAnswered], None]) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add ANSWER_HEADERS; an unexpected error is logged and, if no answer has begun, answered without its text."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context, status, sent_bytes = begin_context(scope), 499, 0

        async def signed(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(_headers(context))
            await send(message)
            sent_bytes += len(message.get("body", b""))

        try:
            await self._app(scope, receive, signed)
        except ClientDisconnect:
            log.debug("the client of %s went away", context.request_id)
        except Exception as error:
            log.exception("request %s ended in an unexpected error", context.request_id)
            if status != 499:
                raise
            await unexpected(error)(scope, receive, signed)
        finally:
            self._on_request(_answered(scope, context, status, sent_bytes))


def _headers(context: RequestContext) -> dict[str, str]:
    return {"x-request-id": context.request_id, "openai-processing-ms": str(round(context.seconds * 1000))}


def _answered(scope: Scope, context: RequestContext, status: int, sent_bytes: int) -> RequestAnswered:
    headers = dict(scope["headers"])
    retry = headers.get(b"x-stainless-retry-count", b"0")
    client_id = _CLIENT_ID.fullmatch(headers.get(b"x-client-request-id", b""))
    return RequestAnswered(
        operation=context.operation,
        model=context.model,
        status=status,
        seconds=context.seconds,
        retry_count=int(retry) if retry.isdigit() and len(retry) < 4 else 0,
        request_id=context.request_id,
        tenant=context.caller.tenant,
        ignored=context.ignored,
        painting=context.paints,
        refused=refusal_code(context.error) if context.paints else None,
        response_bytes=sent_bytes,
        acting=context.acts,
        code=None if context.error is None else code_of(context.error),
        key_id=context.caller.key_id,
        trace=current(),
        client_request_id=client_id and client_id[0].decode("ascii"),
    )
