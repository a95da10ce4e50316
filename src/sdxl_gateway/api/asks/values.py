"""Parses single values, from JSON or a form's text, and checks them against their field's bounds."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from sdxl_gateway.api.asks.field import Field
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}(\.0{1,20})?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_SHOWN = 1e18
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_TYPE_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def wrong_type(param: str, expected: str, value: Any) -> InvalidRequest:
    """The error for a value of the wrong type, which is named as in JSON."""
    got = _TYPE_NAMES.get(type(value), "another type")
    return InvalidRequest(
        f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param=param, code="invalid_type"
    )


def unreadable(param: str, expected: str, value: Any) -> InvalidRequest:
    """The error for a value of a valid type that cannot be parsed; it shows the value."""
    if isinstance(value, str):
        got = shown(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return wrong_type(param, expected, value)
    else:
        got = str(value) if abs(value) < MOST_SHOWN else "a number too large"
    return InvalidRequest(
        f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param=param, code="invalid_type"
    )


def missing(param: str, *, given: bool = False) -> InvalidRequest:
    """The error for a missing required field; `given` if the field is there but empty."""
    what = f"'{param}' is empty" if given else f"'{param}'"
    return InvalidRequest(f"Missing required parameter: {what}.", param=param, code="missing_required_parameter")


def too_many_entries(param: str, most: int, count: int) -> InvalidRequest:
    """The error for a list with too many entries."""
    message = f"Invalid '{param}': at most {most} entries, but got {count} instead."
    return InvalidRequest(message, param=param, code="array_above_max_length")


def json_text(given: str, param: str) -> Any:
    """The JSON value in a field's text, as in a form. Raises InvalidRequest."""
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"Invalid '{param}': not valid JSON.", param=param, code="invalid_json") from None


def text(field: Field, value: Any, param: str) -> str:
    """A string that can be encoded and stored: no NUL, no lone surrogates, not too long. Raises InvalidRequest."""
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    if len(value) > field.max_chars:
        raise InvalidRequest(
            f"Invalid '{param}': string too long. Expected a string with maximum length {field.max_chars}, "
            f"but got a string with length {len(value)} instead.",
            param=param,
            code="string_above_max_length",
        )
    return clean(value, param)


def clean(value: str, param: str) -> str:
    """The string itself. Raises InvalidRequest if it contains a NUL or a lone surrogate."""
    if "\0" in value or any(0xD800 <= ord(char) <= 0xDFFF for char in value):
        raise InvalidRequest(f"Invalid '{param}': the text holds a NUL or a lone surrogate.", param=param)
    return value


def checked_digest(value: Any, param: str) -> str:
    """A sha256 in hexadecimal digits. Raises InvalidRequest."""
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    if not _DIGEST.fullmatch(value):
        raise InvalidRequest(f"Invalid '{param}': not a sha256 in 64 hexadecimal digits.", param=param)
    return value


def choice(field: Field, value: Any, param: str) -> str:
    """One of the field's choices, in lower case. Raises InvalidRequest that names them."""
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    word = value.strip().lower()
    if word not in field.choices:
        known = ", ".join(f"'{one}'" for one in field.choices)
        raise InvalidRequest(f"Invalid value: {shown(value)}. Supported values are: {known}.", param=param)
    return word


def flag(value: Any, param: str) -> bool:
    """A boolean: true, false, 0 or 1, as JSON or as text. Raises InvalidRequest."""
    if isinstance(value, bool):
        return value
    found = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if found is None:
        raise unreadable(param, "a boolean", value)
    return found


def integer(field: Field, value: Any, param: str) -> int:
    """A whole number within the field's bounds; `2.0` and "2" are whole. Raises InvalidRequest."""
    whole = _whole(value)
    if whole is None:
        raise unreadable(param, "an integer", value)
    _check_range(field, whole, param, "integer")
    return whole


def number(field: Field, value: Any, param: str) -> float:
    """A finite float within the field's bounds. Raises InvalidRequest."""
    found = finite(value)
    if found is None:
        raise unreadable(param, "a finite number", value)
    _check_range(field, found, param, "decimal")
    return found


def level(field: Field, value: Any, param: str) -> str | float:
    """One of the field's choices, in lower case, or a number within its bounds. Raises InvalidRequest."""
    if isinstance(value, str) and finite(value) is None:
        return choice(field, value, param)
    return number(field, value, param)


def finite(value: Any) -> float | None:
    """A number, given as a number or as text; None for anything but a finite number."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value.strip().split(".")[0]) if _INTEGER.fullmatch(value.strip()) else None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_range(field: Field, value: float, param: str, kind: str) -> None:
    # Written so that a NaN fails, too.
    if field.low is not None and not field.low <= value:
        raise _outside(param, kind, "below_min", f"a value >= {field.low:.17g}", value)
    if field.high is not None and not value <= field.high:
        raise _outside(param, kind, "above_max", f"a value <= {field.high:.17g}", value)


def _outside(param: str, kind: str, side: str, expected: str, value: float) -> InvalidRequest:
    far = "a far larger one" if value > 0 else "a far smaller one"
    got = str(value) if abs(value) < MOST_SHOWN else far
    return InvalidRequest(
        f"Invalid '{param}': {kind} {side.replace('_', ' ')} value. Expected {expected}, but got {got} instead.",
        param=param,
        code=f"{kind}_{side}_value",
    )
