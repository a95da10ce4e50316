"""Parses JSON bodies; hostile ones are refused and do no harm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.requests import Request

from sdxl_gateway.api.http.large_json import TooMuch, parse_large
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest
from sdxl_gateway.core.text import shown

# Below this a thread costs more than the parsing, and whatever the body holds is soon made.
SMALL_BYTES = 64 * 1024


def parse_json(body: bytes | bytearray, *, param: str | None = None) -> Any:
    """The value; a large bytearray is consumed. Raises InvalidRequest for invalid JSON, which includes NaN, Infinity
    and other encodings, and for more values than any request needs.
    """
    try:
        if len(body) > SMALL_BYTES:
            return parse_large(body if isinstance(body, bytearray) else bytearray(body), _loads)
        return _loads(body.decode("utf-8-sig"))
    except TooMuch as error:
        raise _invalid(str(error), param) from None
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8", param) from None
    except RecursionError:
        raise _invalid("it is nested too deeply", param) from None
    except json.JSONDecodeError as error:
        raise _invalid(f"see line {error.lineno}, column {error.colno}", param) from None
    except ValueError:
        raise _invalid("a number in it is not valid JSON", param) from None


def parse_object(body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object of a body; a large bytearray is consumed. Raises InvalidRequest."""
    if not body or body.isspace():
        raise InvalidRequest("The request has no body; a JSON object is expected.", code="invalid_json")
    value = parse_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    return value


async def small_object(request: Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The JSON object of a short body; {} for an empty one if that is allowed.

    Raises BodyTooLarge above `SMALL_BYTES`, InvalidRequest.
    """
    body = await whole_body(request.stream(), SMALL_BYTES)
    return {} if may_be_empty and not body else parse_object(body)


async def whole_body(chunks: AsyncIterator[bytes], max_bytes: int) -> bytearray:
    """All bytes of the body. Raises BodyTooLarge above `max_bytes`."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLarge(f"A request body that is no multipart form has at most {max_bytes} bytes.")
    return data


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; "" when there is none."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def unknown_media(request: Request) -> str:
    """The content type, as an error message may show it."""
    return shown(media_type(request))


def _refuse_constant(_: str) -> Any:
    raise ValueError("no JSON number")


_loads = partial(json.loads, parse_constant=_refuse_constant)


def _invalid(reason: str, param: str | None) -> InvalidRequest:
    where = "the body" if param is None else f"'{param}'"
    return InvalidRequest(f"Could not parse {where} as JSON: {reason}.", param=param, code="invalid_json")
