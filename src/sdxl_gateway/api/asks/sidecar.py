"""The keys of side-cars that can be changed over HTTP: their schema, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.api.asks.field import Field
from sdxl_gateway.api.asks.keys import refuse_unknown
from sdxl_gateway.api.asks.values import choice, flag, integer, missing, number, text
from sdxl_gateway.core.text import cleaned


@dataclass(frozen=True, slots=True)
class Word:
    """A key of a side-car; `read` raises InvalidRequest for an invalid value."""

    schema: dict[str, Any]
    read: Callable[[Any], Any]


def sidecar_schema(words: Mapping[str, Word]) -> dict[str, Any]:
    """The schema of the JSON that changes a side-car with these keys."""
    properties = {name: word.schema for name, word in words.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def read_words(words: Mapping[str, Word], given: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, by the side-car's keys; None removes one. Raises InvalidRequest naming the field."""
    refuse_unknown(given, frozenset(words))
    return {name: None if value is None else words[name].read(value) for name, value in given.items()}


def read_line(field: Field, value: Any, param: str) -> str:
    """One printable line, cleaned as texts in side-car files are. Raises InvalidRequest."""
    found = cleaned(text(field, value, param), field.max_chars)
    if not found:
        raise missing(param, given=True)
    return found


def line(field: Field) -> Word:
    """A text of one line."""
    schema = {"type": ["string", "null"], "maxLength": field.max_chars, "description": field.about}
    return Word(schema, lambda value: read_line(field, value, field.name))


def yes_or_no(field: Field) -> Word:
    """A flag."""
    schema = {"type": ["boolean", "null"], "description": field.about}
    return Word(schema, lambda value: flag(value, field.name))


def one_of(field: Field) -> Word:
    """One of the field's choices."""
    schema = {"type": ["string", "null"], "enum": [*field.choices, None], "description": field.about}
    return Word(schema, lambda value: choice(field, value, field.name))


def whole_number(field: Field) -> Word:
    """An integer within the field's bounds."""
    return Word(_range(field), lambda value: integer(field, value, field.name))


def decimal(field: Field) -> Word:
    """A number within the field's bounds."""
    return Word(_range(field), lambda value: number(field, value, field.name))


def _range(field: Field) -> dict[str, Any]:
    return {"type": [str(field.kind), "null"], "minimum": field.low, "maximum": field.high, "description": field.about}
