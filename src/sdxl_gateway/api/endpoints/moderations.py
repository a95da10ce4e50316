"""Judges texts and pictures with the judges of painting, in the shape of OpenAI's API."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api.asks.moderations import MOST_INPUTS, ModerationInput, read_moderation
from sdxl_gateway.api.endpoints.seen import caller_of
from sdxl_gateway.api.http.json_body import parse_object, whole_body
from sdxl_gateway.api.http.route import Description, Endpoint, Reply
from sdxl_gateway.api.replies.moderations import ModerationReply, moderation
from sdxl_gateway.api.services import Services
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.gateway.moderations import Judged


def _part(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    properties = {"type": {"type": "string", "const": kind}, kind: said}
    return {"type": "object", "properties": properties, "required": ["type", kind], "additionalProperties": False}


_URL = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
_ENTRY = {"oneOf": [{"type": "string"}, _part("text", {"type": "string"}), _part("image_url", _URL)]}
_INPUT = {"oneOf": [{"type": "string"}, {"type": "array", "items": _ENTRY, "minItems": 1, "maxItems": MOST_INPUTS}]}
_BODY = {
    "type": "object",
    "properties": {"input": _INPUT, "model": {"type": ["string", "null"]}},
    "required": ["input"],
}
CREATE_MODERATION = Description(
    "createModeration",
    {200: Reply("The findings.", ModerationReply)},
    errors=(400, 404, 408, 413, 429, 503),
    reads={"application/json": {"schema": _BODY}},
)


def judge_endpoint(services: Services) -> Endpoint:
    """POST: judge, regardless of the caller's policy."""
    settings = services.settings

    async def create_moderation(request: Request) -> Response:
        body = await whole_body(request.stream(), settings.server.max_body_bytes)
        ask = read_moderation(parse_object(body), settings.limits)
        caller = caller_of(request)
        await services.limits.admit(caller)
        judged = [await _judged(services, one, caller) for one in ask.inputs]
        return JSONResponse(moderation(ask.model, judged))

    return create_moderation


async def _judged(services: Services, one: ModerationInput, caller: Caller) -> Judged:
    pictures = [await services.pictures.bring(upload, caller) for upload in one.pictures]
    return await services.moderations.judged(one.texts, pictures)
