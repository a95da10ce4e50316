"""Field: a row of the table of fields that a request to paint may have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sdxl_gateway.core.ask import Operation

PAINT = frozenset(Operation)
PROMPTED = frozenset({Operation.GENERATE, Operation.EDIT})
FROM_IMAGE = frozenset({Operation.EDIT, Operation.VARY})
EDIT = frozenset({Operation.EDIT})


class Kind(StrEnum):
    """How a field's value is parsed."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    SWITCH = "switch"
    LORAS = "loras"
    CONTROLS = "controls"
    RECIPE = "recipe"
    PADDING = "padding"
    REFERENCES = "references"
    LEVEL = "level"
    PICTURE = "picture"
    PICTURES = "pictures"
    IGNORED = "ignored"


PICTURE_KINDS = frozenset({Kind.PICTURE, Kind.PICTURES})


@dataclass(frozen=True, slots=True)
class Field:
    """One field: bounds are inclusive, `max_chars` counts characters; an IGNORED field is accepted without effect.

    The value of a LEVEL is one of the choices or a number.
    """

    name: str
    kind: Kind
    about: str
    operations: frozenset[Operation] = PAINT
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    max_chars: int = 512
    required: frozenset[Operation] = frozenset()
    extension: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """The field's name, then its aliases."""
        return (self.name, *self.aliases)
