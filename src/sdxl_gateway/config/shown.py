"""The settings as operators may see them: without secrets, and with when a change of each applies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from sdxl_gateway.config.live import Path, follows_reload, leaves
from sdxl_gateway.config.sections import Settings

MASK = "**********"
"""The text by which pydantic masks a secret."""
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<who>[^/?#]*@)?(?P<where>[^?#]*)(?P<what>.*)", re.I | re.S)


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """`value` is a JSON value, masked for a `secret` that is set; `is_default` says that it was not changed.

    If `live`, a change applies on a reload, else after a restart.
    """

    key: str
    value: Any
    secret: bool
    is_default: bool
    live: bool


def shown_settings(settings: Settings) -> Iterator[ShownSetting]:
    """All settings, in the order of their sections, including those under names that the operator chose."""
    usual = dict(leaves(Settings()))
    for path, value in leaves(settings):
        field = _field(path)
        default = usual.get(path, None if field is None else field.default)
        yield ShownSetting(
            key=".".join(path),
            value=_masked(to_jsonable_python(value)),
            secret=field is not None and SecretStr in _types(field.annotation),
            is_default=value == default,
            live=follows_reload(path),
        )


def _field(path: Path) -> FieldInfo | None:
    """The setting's declaration; None if the path ends in a name that the operator chose for a plain value."""
    section: Any = Settings
    for name in path[:-1]:
        section = section.model_fields[name].annotation if _is_section(section) else get_args(section)[1]
    return section.model_fields[path[-1]] if _is_section(section) else None


def _is_section(found: Any) -> bool:
    return get_origin(found) is None and issubclass(found, BaseModel)


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def _masked(value: Any) -> Any:
    """The value without the credentials in URLs."""
    if isinstance(value, list):
        return [_masked(one) for one in value]
    if isinstance(value, dict):
        return {key: _masked(one) for key, one in value.items()}
    return _ADDRESS.sub(_bare, value, count=1) if isinstance(value, str) and _ADDRESS.match(value) else value


def _bare(address: re.Match[str]) -> str:
    who, what = f"{MASK}@" if address["who"] else "", f"?{MASK}" if address["what"] else ""
    return f"{address['scheme']}{who}{address['where']}{what}"
