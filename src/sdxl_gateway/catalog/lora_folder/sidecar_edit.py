"""Changes values in a side-car; comments, and keys that are not named, stay as they are."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sdxl_gateway.catalog.lora_folder.sidecar import MAX_SIDECAR_BYTES, read_text, sidecar_path
from sdxl_gateway.catalog.lora_folder.upload import check_within, writing
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.files import sync_folder, write_whole

MOST_LINES = 200
"""The most lines of one value, which is parsed again with each of them."""
BY_HAND = "The side-car {}, and can only be changed on the server's disk."


class _Statement(NamedTuple):
    key: str
    text: str


@writing()
def change_sidecar(root: Path, weights: Path, changes: Mapping[str, Any]) -> None:
    """Set these values in the side-car of a file or folder of weights below `root`, and remove those that are None;
    a side-car that becomes empty is deleted.

    Raises InvalidRequest if it cannot be read, or is formatted so that it cannot be changed, and as `writing`.
    """
    check_within(root, weights.parent)
    path = sidecar_path(weights)
    text = edited(_written(path), changes)
    if text.strip():
        write_whole(path, [text.encode()])
    else:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def _written(path: Path) -> str:
    try:
        return read_text(path) if path.exists() else ""
    except ValueError as problem:
        raise InvalidRequest(BY_HAND.format(problem)) from None


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The text of a side-car with these values: texts, numbers, flags or lists of texts; None removes a key.

    Raises InvalidRequest.
    """
    statements, tables = _taken_apart(text)
    new = {
        key: f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in changes.items() if value is not None
    }
    kept = [new.pop(key, "") if key in changes else written for key, written in statements]
    made = "".join([*kept, *new.values(), tables])
    _check(made, changes)
    return made


def _taken_apart(text: str) -> tuple[list[_Statement], str]:
    """The statements before the first table, and the rest of the text."""
    statements = []
    rest = text
    for one in _statements(text):
        if one.text.lstrip().startswith("["):
            break
        statements.append(one)
        rest = rest[len(one.text) :]
    return statements, rest


def _statements(text: str) -> Iterator[_Statement]:
    """Each statement, of one line or several, until what was read is valid TOML. Comments have an empty key."""
    held, lines = "", 0
    for line in text.removesuffix("\n").split("\n") if text else ():
        held, lines = f"{held}{line}\n", lines + 1
        if (table := _read(held)) is not None:
            yield _Statement(next(iter(table), ""), held)
            held, lines = "", 0
        elif lines == MOST_LINES:
            break
    if held:
        raise InvalidRequest(BY_HAND.format("has a value of very many lines"))


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _check(text: str, changes: Mapping[str, Any]) -> None:
    said = _read(text)
    if said is None or any(said.get(key) != value for key, value in changes.items()):
        raise InvalidRequest(BY_HAND.format("is written in an unusual way"))
    if len(text.encode()) > MAX_SIDECAR_BYTES:
        raise InvalidRequest(f"A side-car has at most {MAX_SIDECAR_BYTES} bytes.")
