"""A request's `Prefer` header (RFC 7240): whether to answer with a job instead of pictures."""

from __future__ import annotations

from starlette.requests import Request

from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.errors import InvalidRequest

RESPOND_ASYNC = "respond-async"


def prefers_job(request: Request) -> bool:
    """Whether `respond-async` is among the preferences, in any of possibly several headers."""
    headers = ",".join(request.headers.getlist("prefer"))
    return any(one.partition(";")[0].strip().lower() == RESPOND_ASYNC for one in headers.split(","))


def refuse_webhook(ask: Ask) -> None:
    """Raises InvalidRequest if a webhook is given for a request that is answered with pictures, not with a job."""
    if ask.webhook_url is not None:
        told = "A 'webhook_url' is told of jobs alone: send 'Prefer: respond-async' with it."
        raise InvalidRequest(told, param="webhook_url", code="unsupported_parameter")


def refuse_stream(ask: Ask) -> None:
    """Raises InvalidRequest if both a job and a stream are requested."""
    if ask.stream:
        told = "With 'Prefer: respond-async' there is no stream in the answer: follow the job at its events instead."
        raise InvalidRequest(told, param="stream", code="unsupported_parameter")
