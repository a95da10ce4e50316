"""Takes a request's `Prefer` header (RFC 7240), tells whether the answer is to be a job instead of pictures."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest

RESPOND_ASYNC = "respond-async"


def prefers_job(request: Request) -> bool:
    """`respond-async` is among the preferences, of which a header, and there may be several, holds some."""
    headers = ",".join(request.headers.getlist("prefer"))
    return any(one.partition(";")[0].strip().lower() == RESPOND_ASYNC for one in headers.split(","))


def refuse_webhook(ask: Ask) -> None:
    """Raises InvalidRequest where the answer is to be pictures, and somebody else is to be told of them."""
    if ask.webhook_url is not None:
        told = "A 'webhook_url' is told of jobs alone: send 'Prefer: respond-async' with it."
        raise InvalidRequest(told, param="webhook_url", code="unsupported_parameter")


def refuse_stream(ask: Ask) -> None:
    """Raises InvalidRequest where the answer is to be a job and a stream at once."""
    if ask.stream:
        told = "With 'Prefer: respond-async' there is no stream in the answer: follow the job at its events instead."
        raise InvalidRequest(told, param="stream", code="unsupported_parameter")
