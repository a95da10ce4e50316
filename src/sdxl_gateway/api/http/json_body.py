"""Takes the bytes of a body, gives the JSON value they say; a hostile body is refused, nothing more."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown


def parse_json(body: bytes, *, param: str | None = None) -> Any:
    """The value. Raises InvalidRequest for what is not JSON: NaN, Infinity and foreign encodings included."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8", param) from None
    except RecursionError:
        raise _invalid("it is nested too deeply", param) from None
    except json.JSONDecodeError as error:
        raise _invalid(f"see line {error.lineno}, column {error.colno}", param) from None
    except ValueError:
        raise _invalid("it holds a number that is none", param) from None


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object a request's body holds."""
    if not body.strip():
        raise InvalidRequest("The request has no body; a JSON object is expected.", code="invalid_json")
    said = parse_json(body)
    if not isinstance(said, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    return said


async def whole_body(request: Request) -> bytes:
    """All bytes of the body; the body guard counts them."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
    return bytes(data)


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def unknown_media(request: Request) -> str:
    return shown(media_type(request))


def _refuse_constant(_: str) -> Any:
    raise ValueError("no JSON number")


def _invalid(reason: str, param: str | None) -> InvalidRequest:
    where = "the body" if param is None else f"'{param}'"
    return InvalidRequest(f"Could not parse {where} as JSON: {reason}.", param=param, code="invalid_json")
