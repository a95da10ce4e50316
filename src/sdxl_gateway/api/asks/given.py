"""Reads a body's fields by the table of fields; unknown ones are refused, or noted as ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sdxl_gateway.api.asks import values
from sdxl_gateway.api.asks.field import PICTURE_KINDS, Field, Kind
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.api.asks.pictures import read_picture, read_pictures
from sdxl_gateway.api.asks.recipe import recipe_in
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest

_WHAT = {Operation.GENERATE: "A generation", Operation.EDIT: "An edit", Operation.VARY: "A variation"}
Files = Mapping[str, tuple[Upload, ...]]
"""Pictures by the name of their field."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's rules for reading a request; with `strict`, fields that are not in the table are refused.

    `fields` is the table to use; if empty, the whole table with `limits`.
    """

    limits: Limits
    strict: bool = False
    fields: tuple[Field, ...] = ()

    @property
    def table(self) -> tuple[Field, ...]:
        """All known fields."""
        return self.fields or wire_fields(self.limits)


class FieldValue(NamedTuple):
    """A field of the body with its value; `param` is the spelling that the caller used."""

    row: Field
    value: Any
    param: str


class Given:
    """One body, read by its operation's table; `ignored` are the names of fields in it that have no effect."""

    def __init__(self, operation: Operation, given: dict[str, Any], rules: Rules, files: Files) -> None:
        self.operation = operation
        self.table = {row.name: row for row in fields_of(rules.table, operation)}
        self._foreign = [row for row in rules.table if row.kind in PICTURE_KINDS and row.name not in self.table]
        self.recipe = recipe_in(given, self.table.values(), operation, rules.limits.max_pixels)
        self._given = given | self.recipe.fields
        self.rules = rules
        self._files = files
        self.ignored: list[str] = []
        self.pictures: dict[str, tuple[Upload, ...]] = {}

    def named(self, word: str) -> str:
        """The name of a field for error messages: fields that a recipe brought have the recipe's name before theirs."""
        return f"recipe.{word}" if word in self.recipe.fields else word

    def refuse_foreign_pictures(self) -> None:
        """Raises InvalidRequest for a picture that only other operations use, as it would have no effect here."""
        for row in self._foreign:
            given = [word for word in row.spellings if self._given.pop(word, None)]
            if given or self._files.get(row.name):
                word = given[0] if given else row.name
                raise _unsupported(word, f"{_WHAT[self.operation]} reads no '{word}': send it to /v1/images/edits.")

    def find_unknown(self) -> None:
        """Note the fields that have no effect; raises InvalidRequest for unknown ones if the server is strict."""
        known = {word: row for row in self.table.values() for word in row.spellings}
        without_effect = {word for word, row in known.items() if row.kind is Kind.IGNORED}
        for key in self._given:
            if key in known and key not in without_effect:
                continue
            # Forms write a key of the object `svg` as `svg[model]`.
            if key.partition("[")[0] not in without_effect and self.rules.strict:
                raise _unknown(self.named(key))
            self.ignored.append(self.named(key))
        for row in self.table.values():
            self.ignored.extend(self._outspoken(row))

    def _outspoken(self, row: Field) -> list[str]:
        """The spellings of a field whose values contradict the one that counts, if pixels depend on the field."""
        used = self._spelling(row)
        if used is None or not (row.extension or row.kind in PICTURE_KINDS):
            return []
        return [word for word in row.spellings if self._given.get(word, "") not in ("", self._given[used])]

    def _spelling(self, row: Field) -> str | None:
        """The first spelling whose value is not empty, else one whose value is; None if the field is absent."""
        given = [word for word in row.spellings if word in self._given]
        return next((word for word in given if self._given[word] != ""), given[0] if given else None)

    def find(self, name: str) -> FieldValue | None:
        """The field under its first spelling that is not empty; None if the field is absent."""
        row = self.table.get(name)
        if row is None:
            return None
        spelling = self._spelling(row)
        value = self._given[spelling] if spelling is not None else None
        if self.operation in row.required and (value is None or (isinstance(value, str) and not value.strip())):
            raise values.missing(spelling or row.name, given=spelling is not None)
        return None if spelling is None else FieldValue(row, value, self.named(spelling))

    def filled(self, name: str) -> FieldValue | None:
        """As `find`, but None also if the field is empty, as forms send fields that were not filled in."""
        found = self.find(name)
        return None if found is None or found.value == "" else found

    def text(self, name: str) -> str | None:
        """The text as it was sent; None if the field is absent."""
        found = self.find(name)
        return values.text(*found) if found else None

    def choice(self, name: str) -> str | None:
        """One of the field's choices; None if the field is absent or empty."""
        found = self.filled(name)
        return values.choice(*found) if found else None

    def flag(self, name: str) -> bool | None:
        """A boolean; None if the field is absent or empty."""
        found = self.filled(name)
        return values.flag(found.value, found.param) if found else None

    def switch(self, name: str) -> str | bool | None:
        """A name, or a boolean, whether to use one at all; None if the field is absent or empty."""
        found = self.filled(name)
        if found is None:
            return None
        try:
            return values.flag(found.value, found.param)
        except InvalidRequest:
            return values.text(*found)

    def integer(self, name: str) -> int | None:
        """Within the field's bounds; None when the field is absent or empty."""
        found = self.filled(name)
        return values.integer(*found) if found else None

    def number(self, name: str) -> float | None:
        """Within the field's bounds; None when the field is absent or empty."""
        found = self.filled(name)
        return values.number(*found) if found else None

    def refuse_unknown(self, before: int) -> None:
        """If the server is strict, raises InvalidRequest for keys added to `ignored` since it had `before` of them."""
        if self.rules.strict and len(self.ignored) > before:
            raise _unknown(self.ignored[before])

    def uploads(self, row: Field) -> tuple[Upload, ...]:
        """The pictures of a field: from parts of the form, else from the body."""
        if files := self._files.get(row.name):
            return files
        found, max_bytes = self.filled(row.name), self.rules.limits.max_image_bytes
        if found is None:
            return ()
        if row.kind is Kind.PICTURE:
            return (read_picture(found.value, found.param, max_bytes),)
        return read_pictures(found.value, found.param, max_bytes)


def _unsupported(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(reason, param=param, code="unsupported_parameter")


def _unknown(key: str) -> InvalidRequest:
    word = key[:100].encode("utf-8", "backslashreplace").decode("utf-8")
    return InvalidRequest(f"Unknown parameter: '{word}'.", param=word, code="unknown_parameter")
