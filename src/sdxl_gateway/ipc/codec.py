"""Converts dataclasses to JSON values and blobs, and back with strict checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sdxl_gateway.core.errors import GatewayError, error_class

ERROR_FIELDS = ("class", "message", "param", "code", "retry_after_seconds")


class Malformed(ValueError):
    """The received values do not fit the types."""


def to_plain(value: Any, blobs: list[bytes]) -> Any:
    """JSON values for `value`; `bytes` are appended to `blobs` and replaced by their index there."""
    if isinstance(value, bytes):
        blobs.append(value)
        return len(blobs) - 1
    if isinstance(value, GatewayError):
        return _plain_error(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name), blobs) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item, blobs) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, blobs) for item in value]
    return value


def from_plain(hint: Any, plain: Any, blobs: Sequence[bytes]) -> Any:
    """The value of type `hint` that `plain` describes. Raises Malformed."""
    if hint in _SCALARS:
        return _scalar(hint, plain)
    if hint is bytes:
        return _blob(plain, blobs)
    if hint is Any:
        return plain
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _optional(hint, plain, blobs)
    if origin is Literal:
        return _one_of(get_args(hint), plain)
    if origin is tuple:
        return _tuple(get_args(hint), plain, blobs)
    if origin in (dict, Mapping):
        return _dict(get_args(hint)[1], plain, blobs)
    return _object(hint, plain, blobs)


_SCALARS: dict[Any, Any] = {str: str, int: int, float: float | int, bool: bool, NoneType: NoneType}


def _scalar(hint: Any, plain: Any) -> Any:
    if not isinstance(plain, _SCALARS[hint]) or (isinstance(plain, bool) and hint is not bool):
        raise Malformed(f"{type(plain).__name__} where {hint.__name__} belongs")
    return float(plain) if hint is float else plain


def _blob(plain: Any, blobs: Sequence[bytes]) -> bytes:
    place: int = _scalar(int, plain)
    if not 0 <= place < len(blobs):
        raise Malformed(f"blob {place} of {len(blobs)}")
    return blobs[place]


def _optional(hint: Any, plain: Any, blobs: Sequence[bytes]) -> Any:
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    if len(kinds) != 1:
        raise TypeError(f"{hint} cannot be told apart once it is plain")
    return None if plain is None else from_plain(kinds[0], plain, blobs)


def _one_of(allowed: tuple[Any, ...], plain: Any) -> Any:
    if plain not in allowed:
        raise Malformed(f"not one of {allowed}")
    return plain


def _tuple(kinds: tuple[Any, ...], plain: Any, blobs: Sequence[bytes]) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise Malformed(f"{type(plain).__name__} where a list belongs")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(plain)
    if len(kinds) != len(plain):
        raise Malformed(f"{len(plain)} items where {len(kinds)} belong")
    return tuple(from_plain(kind, item, blobs) for kind, item in zip(kinds, plain, strict=True))


def _dict(kind: Any, plain: Any, blobs: Sequence[bytes]) -> dict[str, Any]:
    return {key: from_plain(kind, item, blobs) for key, item in _mapping(plain).items()}


def _object(hint: Any, plain: Any, blobs: Sequence[bytes]) -> Any:
    if issubclass(hint, GatewayError):
        return _error(_mapping(plain))
    if issubclass(hint, Enum):
        return _enum(hint, plain)
    hints = _hints(hint)
    given = _mapping(plain)
    if given.keys() != hints.keys():
        raise Malformed(f"{hint.__name__} has other fields: {sorted(given.keys() ^ hints.keys())}")
    try:
        return hint(**{name: from_plain(kind, given[name], blobs) for name, kind in hints.items()})
    except Malformed:
        raise
    except ValueError as problem:
        raise Malformed(str(problem)) from problem


def _mapping(plain: Any) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise Malformed(f"{type(plain).__name__} where an object belongs")
    return plain


def _enum(hint: type[Enum], plain: Any) -> Enum:
    try:
        return hint(plain)
    except ValueError as problem:
        raise Malformed(str(problem)) from problem


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _plain_error(error: GatewayError) -> dict[str, Any]:
    values = (type(error).__name__, error.message, error.param, error.code, error.retry_after_seconds)
    return dict(zip(ERROR_FIELDS, values, strict=True))


def _error(plain: dict[str, Any]) -> GatewayError:
    if plain.keys() != set(ERROR_FIELDS):
        raise Malformed("not an error's fields")
    kind = error_class(from_plain(str, plain["class"], ()))
    error = kind.__new__(kind)
    param, code = (from_plain(str | None, plain[name], ()) for name in ("param", "code"))
    GatewayError.__init__(error, from_plain(str, plain["message"], ()), param=param, code=code)
    error.retry_after_seconds = from_plain(float | None, plain["retry_after_seconds"], ())
    return error
