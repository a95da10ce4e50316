"""Maps GatewayErrors to HTTP answers; the only place that knows status codes."""

from __future__ import annotations

import errno
import math
import re
from dataclasses import dataclass
from typing import NotRequired

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope
from typing_extensions import TypedDict

from sdxl_gateway.api.http.context import context_of
from sdxl_gateway.core import errors as e
from sdxl_gateway.core.limits import RETRY_AFTER_SECONDS

REALM = 'Bearer realm="sdxl-gateway"'

RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


class ModerationDetails(TypedDict):
    """What a judge found, and where: in what was sent ("input"), or in what was painted ("output")."""

    moderation_stage: str
    categories: list[str]


class ErrorDetail(TypedDict):
    """What went wrong; `param` names the field it is about."""

    message: str
    type: str
    param: str | None
    code: str | None
    moderation_details: NotRequired[ModerationDetails]


class Error(TypedDict):
    """OpenAI's error shape, all keys present."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Answer:
    """`retry` False tells clients not to retry; None leaves that to their own rules."""

    status: int
    type: str
    retry: bool | None = None


TABLE: dict[type[e.GatewayError], Answer] = {
    e.InvalidRequest: Answer(400, "invalid_request_error"),
    e.InvalidImage: Answer(400, "image_generation_user_error"),
    e.ModerationBlocked: Answer(400, "image_generation_user_error"),
    e.AdapterRefused: Answer(400, "invalid_request_error"),
    e.Unauthenticated: Answer(401, "invalid_request_error"),
    e.Forbidden: Answer(403, "invalid_request_error"),
    e.ModelNotFound: Answer(404, "invalid_request_error"),
    e.NotFound: Answer(404, "invalid_request_error"),
    e.MethodNotAllowed: Answer(405, "invalid_request_error"),
    e.WrongState: Answer(409, "invalid_request_error", retry=False),
    e.RecipeChanged: Answer(409, "invalid_request_error", retry=False),
    e.KeyInUse: Answer(409, "invalid_request_error"),
    e.AnsweredElsewhere: Answer(409, "invalid_request_error"),
    e.BodyTooSlow: Answer(408, "invalid_request_error"),
    e.Gone: Answer(410, "invalid_request_error"),
    e.BodyTooLarge: Answer(413, "invalid_request_error"),
    e.UnsupportedMedia: Answer(415, "invalid_request_error"),
    e.KeyReused: Answer(422, "invalid_request_error"),
    e.Refusal: Answer(400, "invalid_request_error"),
    e.Busy: Answer(429, "rate_limit_error"),
    e.QuotaSpent: Answer(429, "insufficient_quota", retry=False),
    e.Cancelled: Answer(499, "invalid_request_error"),
    e.NotFinite: Answer(500, "server_error", retry=False),
    e.EngineFault: Answer(500, "server_error"),
    e.Unavailable: Answer(503, "service_unavailable_error"),
    e.StillLoading: Answer(503, "service_unavailable_error"),
    e.Unjudged: Answer(503, "service_unavailable_error"),
    e.PictureUnjudged: Answer(503, "service_unavailable_error"),
    e.LostWhilePainting: Answer(503, "service_unavailable_error"),
    e.DeadlineExceeded: Answer(504, "server_error"),
    e.DoesNotFit: Answer(507, "server_error", retry=False),
    e.StorageFull: Answer(507, "server_error", retry=False),
    e.GatewayError: Answer(500, "server_error"),
}
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# The rest of the body may still arrive, so that the connection cannot be used for another request.
CLOSING = (408, 413)


def answer_for(error: e.GatewayError) -> Answer:
    """The row of the error's class, or of its nearest base class."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def error_body(error: e.GatewayError) -> Error:
    """OpenAI's shape, all four keys present."""
    return {"error": error_detail(error)}


def error_detail(error: e.GatewayError) -> ErrorDetail:
    """The details of the error body."""
    detail: ErrorDetail = {
        "message": _printable(error.message),
        "type": answer_for(error).type,
        "param": None if error.param is None else _printable(error.param),
        "code": error.code,
    }
    if isinstance(error, e.ModerationBlocked):
        detail["moderation_details"] = {"moderation_stage": error.stage, "categories": list(error.categories)}
    return detail


def error_headers(error: e.GatewayError) -> dict[str, str]:
    """The headers that tell a client whether and when to retry."""
    answer = answer_for(error)
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers |= retry_headers(error.retry_after_seconds)
    if answer.retry is not None:
        headers["x-should-retry"] = "true" if answer.retry else "false"
    if answer.status == 401:
        headers["www-authenticate"] = REALM
    if answer.status in CLOSING:
        headers["connection"] = "close"
    return headers


def retry_headers(seconds: float) -> dict[str, str]:
    """`retry-after` in whole seconds and in milliseconds, at most 120 s, above which clients give up."""
    wait = min(max(seconds, 0.001), RETRY_AFTER_SECONDS) if math.isfinite(seconds) else RETRY_AFTER_SECONDS
    return {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}


def error_response(error: e.GatewayError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer, with `headers` in addition to those of its class."""
    status = answer_for(error).status
    return JSONResponse(error_body(error), status, headers=error_headers(error) | (headers or {}))


def refusing(scope: Scope, error: e.GatewayError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The error answer to this request; the error is noted in its context."""
    context_of(scope).error = error
    return error_response(error, headers)


def refusal_code(error: e.GatewayError | None) -> str | None:
    """The code of a refusal, one of the fixed set of this server's codes; None for other errors."""
    return code_of(error) if isinstance(error, e.Refusal | e.Busy) else None


def code_of(error: e.GatewayError) -> str:
    """The code of an error, one of the fixed set of this server's codes."""
    return error.code or re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def _printable(text: str) -> str:
    """The text with lone surrogates, which cannot be encoded, escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


async def on_gateway_error(request: Request, error: Exception) -> Response:
    """Starlette's handler for GatewayErrors."""
    if not isinstance(error, e.GatewayError):
        raise error
    return refusing(request.scope, error)


def unexpected(error: Exception) -> JSONResponse:
    """The handler of unexpected exceptions: clients are told nothing about them, except that the disk is full."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return error_response(e.StorageFull("The server's disk is full or cannot be written to."))
    return error_response(e.EngineFault("The server had an error while processing your request.", code="server_error"))
