"""Takes the bytes of a body, gives the JSON value they hold; a hostile body is refused, nothing more."""

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
        raise _invalid("a number in it is not valid JSON", param) from None


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object a request's body holds. Raises InvalidRequest."""
    if not body.strip():
        raise InvalidRequest("The request has no body; a JSON object is expected.", code="invalid_json")
    value = parse_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    return value


async def whole_body(request: Request) -> bytes:
    """All bytes of the body; its limit counts them meanwhile."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
    return bytes(data)


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; "" when there is none."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def unknown_media(request: Request) -> str:
    """The content type as an error message may show it."""
    return shown(media_type(request))


def _refuse_constant(_: str) -> Any:
    raise ValueError("no JSON number")


def _invalid(reason: str, param: str | None) -> InvalidRequest:
    where = "the body" if param is None else f"'{param}'"
    return InvalidRequest(f"Could not parse {where} as JSON: {reason}.", param=param, code="invalid_json")
