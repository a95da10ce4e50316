"""Parses the arguments of `generate` into a prompt and fields of the API: each row of the field table is a flag."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sdxl_gateway.api.asks.field import PICTURE_KINDS, Field, Kind
from sdxl_gateway.api.asks.fields import fields_of, wire_fields
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Operation, Upload

NOT_FLAGS = ("prompt", "model", "n", "stream", "partial_images", "response_format", "output_format")
"""Fields that the command itself decides: it writes one picture, to a given file."""
FOLDER = "loras"
"""As a flag, `--loras` is the folder of LoRAs; the field of that name is `--lora`."""


class BadFlag(ValueError):
    """Arguments that cannot be parsed; the text is a sentence."""


@dataclass(slots=True)
class Wish:
    """The requested picture: `fields` by name, as in a form, and `pictures` of the fields that are files."""

    prompt: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, tuple[Upload, ...]] = field(default_factory=dict)

    def take(self, row: Field, value: str) -> None:
        """Set a field; a repeated one adds a picture or a LoRA, for others the last counts. Raises BadFlag."""
        if row.kind in PICTURE_KINDS:
            self.pictures[row.name] = (*self.pictures.get(row.name, ()), Upload(row.name, _read(value)))
        elif row.kind is Kind.LORAS:
            self.fields.setdefault(row.name, []).append(value)
        else:
            self.fields[row.name] = value


def read_words(words: Sequence[str], limits: Limits) -> Wish:
    """Parses `--steps 30`, `--steps=30`, `--embed-recipe`; everything else is the prompt. Raises BadFlag."""
    rows = {word.replace("_", "-"): row for row in _rows(limits) for word in _words(row)}
    waiting, wish, prompts = deque(words), Wish(), list[str]()
    while waiting:
        word = waiting.popleft()
        if not word.startswith("--"):
            prompts.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        row = _row(name, rows)
        wish.take(row, value if equals else _value(row, name, waiting))
    if len(prompts) != 1:
        raise BadFlag(f"One prompt is painted, and {len(prompts)} were given; quote one of several words.")
    wish.prompt = prompts[0]
    return wish


def field_lines(limits: Limits) -> Iterator[str]:
    """A line for each flag, with its meaning."""
    for row in _rows(limits):
        names = ", ".join(f"--{word.replace('_', '-')}" for word in _words(row))
        yield f"{names}{_taken(row)}\n    {row.about}"


def _rows(limits: Limits) -> Iterator[Field]:
    for row in fields_of(wire_fields(limits), Operation.GENERATE):
        if row.name not in NOT_FLAGS and row.kind is not Kind.IGNORED:
            yield row


def _words(row: Field) -> list[str]:
    return [word for word in row.spellings if word != FOLDER]


def _taken(row: Field) -> str:
    """The placeholder of the flag's value, for help."""
    if row.kind is Kind.FLAG:
        return ""
    if row.kind in PICTURE_KINDS:
        return " FILE"
    bounds = "" if row.low is None or row.high is None else f"  ({row.low:g} to {row.high:g})"
    return f" {'|'.join(row.choices) or row.kind.value.upper()}{bounds}"


def _row(name: str, rows: dict[str, Field]) -> Field:
    found = rows.get(name.replace("_", "-"))
    if found is None:
        near = "".join(f" Is '--{one}' meant?" for one in get_close_matches(name, rows, 1))
        raise BadFlag(f"There is no flag '--{name}'.{near} `sdxl-gateway generate --fields` lists them all.")
    return found


def _value(row: Field, name: str, waiting: deque[str]) -> str:
    if row.kind is Kind.FLAG:
        return "true"
    if not waiting:
        raise BadFlag(f"A value has to follow '--{name}'.")
    return waiting.popleft()


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise BadFlag(f"'{path}' cannot be read: {error.strerror}.") from error
