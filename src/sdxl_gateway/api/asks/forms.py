"""Reads fields and pictures from the parts of a form, in the ways in which common clients write them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from sdxl_gateway.api.asks.controls import TYPE_KEYS
from sdxl_gateway.api.asks.field import PICTURE_KINDS, Field, Kind
from sdxl_gateway.api.asks.fields import MAX_IMAGES
from sdxl_gateway.api.asks.loras import NAME_KEYS
from sdxl_gateway.api.asks.pictures import picture_kind, read_text, too_large, too_many, upload
from sdxl_gateway.api.http.json_body import parse_json
from sdxl_gateway.api.http.multipart import MAX_PARTS, PartBegin, PartEnd, PartEvent
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest

# The suffix of a field's name: none, or the index of the one picture, or of one of several.
_INDEX = {Kind.PICTURE: r"(\[0?\])?", Kind.PICTURES: r"(\[\d{0,3}\])?"}
_ENTRY_KEYS = {"loras": NAME_KEYS, "controls": TYPE_KEYS}
"""Fields that are lists of entries, and the keys of which each entry has one."""
_ENTRY = re.compile(r"(loras?|controls)\[(\d{0,3})\](?:\[([A-Za-z_]{1,40})\])?")
_MAY_BE_NULL = ("prompt", "negative_prompt")
# A file part of a field that is not a picture can only be a long text; no more of it than this is needed.
MAX_FILE_TEXT_BYTES = 2**20
MAX_TEXTS_BYTES = 4 * 2**20
# Text is unquoted piece by piece, as unquoting creates an object for each escape.
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One complete part of a form."""

    name: str
    data: bytes
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """Texts by name, in the order sent, and for each picture field the parts that may be its pictures."""

    texts: dict[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)


async def collect(events: AsyncIterator[PartEvent], max_part_bytes: int) -> list[Part]:
    """The complete parts of a form. Raises BodyTooLarge naming a part above `max_part_bytes`."""
    found: list[Part] = []
    begun, data = PartBegin(""), bytearray()
    async for event in events:
        if isinstance(event, PartBegin):
            begun, data = event, bytearray()
        elif isinstance(event, PartEnd):
            found.append(Part(begun.name, bytes(data), begun.is_file))
        elif len(data) + len(event) > max_part_bytes:
            raise too_large(begun.name[:100], max_part_bytes)
        else:
            data += event
    return found


def parse_urlencoded(body: bytes | bytearray) -> list[Part]:
    """The fields of a urlencoded body as parts. Raises InvalidRequest if there are too many."""
    if body.count(b"&") >= MAX_PARTS:
        raise InvalidRequest("The form could not be read.", code="invalid_form")
    pairs = (pair.partition(b"=") for pair in body.split(b"&") if pair)
    return [Part(_unquoted(name).decode("utf-8", "replace"), _unquoted(value)) for name, _, value in pairs]


def _unquoted(text: bytes | bytearray) -> bytes:
    found, at = bytearray(), 0
    while at < len(text):
        piece = text[at : at + _PIECE_BYTES]
        cut = piece.rfind(b"%", len(piece) - 2)
        if cut > 0 and at + len(piece) < len(text):
            piece = piece[:cut]
        found += unquote_to_bytes(bytes(piece.replace(b"+", b" ")))
        at += len(piece)
    return bytes(found)


def read_form(parts: list[Part], fields: Iterable[Field]) -> Form:
    """The form, read by the rows of `fields`. Raises InvalidRequest naming the field.

    Empty texts and `n=0` count as absent; of repeated fields the last one that is not empty counts.
    """
    named = {row.name: _spelling_of(row) for row in fields if row.kind in PICTURE_KINDS}
    pictures = {
        name: tuple(part for part in parts if spelling.fullmatch(part.name)) for name, spelling in named.items()
    }
    rest = [part for part in parts if not any(spelling.fullmatch(part.name) for spelling in named.values())]
    _check_texts(rest)
    texts: dict[str, Any] = {
        part.name: value for part in rest if not _ENTRY.fullmatch(part.name) and (value := _value(part))
    }
    texts |= {name: entries for name in _ENTRY_KEYS if (entries := _entries(rest, name))}
    if texts.get("n", "").strip() == "0":
        del texts["n"]
    if "extra_body" in texts:
        texts["extra_body"] = parse_json(texts["extra_body"].encode("utf-8", "surrogatepass"), param="extra_body")
    return Form(texts, pictures)


def _check_texts(parts: list[Part]) -> None:
    sizes = [min(len(part.data), MAX_FILE_TEXT_BYTES) if part.is_file else len(part.data) for part in parts]
    if sum(sizes) > MAX_TEXTS_BYTES:
        raise BodyTooLarge(f"The fields of a form beside its pictures have at most {MAX_TEXTS_BYTES} bytes together.")


def _spelling_of(row: Field) -> re.Pattern[str]:
    names = "|".join(map(re.escape, row.spellings))
    return re.compile(f"({names}){_INDEX[row.kind]}")


def read_files(form: Form, fields: Iterable[Field], max_bytes: int) -> dict[str, tuple[Upload, ...]]:
    """The pictures of a form by field: its files if it has any, else its texts, which are data URLs or base64.

    Raises InvalidImage, InvalidRequest or BodyTooLarge naming the field.
    """
    return {row.name: _uploads(row, form.pictures[row.name], max_bytes) for row in fields if row.kind in PICTURE_KINDS}


def _uploads(row: Field, parts: tuple[Part, ...], max_bytes: int) -> tuple[Upload, ...]:
    found = _given(parts)
    if len(found) > (most := 1 if row.kind is Kind.PICTURE else MAX_IMAGES):
        raise too_many(row.name, most)
    several = len(found) > 1
    return tuple(
        _upload(part, f"{row.name}[{index}]" if several else row.name, max_bytes) for index, part in enumerate(found)
    )


def _given(parts: tuple[Part, ...]) -> list[Part]:
    """The parts that are not empty."""
    files = [part for part in parts if part.is_file or picture_kind(part.data)]
    return files or [part for part in parts if part.data.strip() not in (b"", b"null")]


def _upload(part: Part, param: str, max_bytes: int) -> Upload:
    if part.is_file or picture_kind(part.data):
        return upload(part.data, param, max_bytes)
    # A large text can only be base64, for which latin-1 is enough; one wider letter makes a str take 4 bytes for each.
    text = _text(part, param) if len(part.data) < MAX_TEXTS_BYTES else part.data.decode("latin-1")
    return read_text(text, param, max_bytes)


def _value(part: Part) -> str:
    """A text field's text; "" if it counts as absent."""
    if part.is_file:
        return part.data[:MAX_FILE_TEXT_BYTES].decode("utf-8", "replace")
    text = _text(part, part.name[:100])
    return "" if text.strip() == "null" and part.name not in _MAY_BE_NULL else text


def _text(part: Part, param: str) -> str:
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"Invalid '{param}': the text is not UTF-8.", param=param) from None


def _entries(parts: list[Part], field: str) -> list[Any]:
    """Entries from `loras[0][name]` by index, `loras[][name]` and `loras[][weight]` by order, `loras[]` and repeats."""
    words: list[Any] = _repeats(parts, field)
    columns: dict[str, list[str]] = {}
    numbered: dict[int, dict[str, str]] = {}
    for part in parts:
        match = _ENTRY.fullmatch(part.name)
        if not match or match[1].rstrip("s") != field.rstrip("s") or not (text := _text(part, field)):
            continue
        if match[3] is None:
            words.append(text)
        elif match[2]:
            numbered.setdefault(int(match[2]), {})[match[3]] = text
        else:
            columns.setdefault(match[3], []).append(text)
    return [*words, *(numbered[index] for index in sorted(numbered)), *_rows(columns, field)]


def _repeats(parts: list[Part], field: str) -> list[str]:
    """The texts of a field that was sent more than once under its plain name."""
    plain = [part for part in parts if part.name in (field, "lora") and part.data.strip() not in (b"", b"null")]
    same = [part for part in plain if part.name == field or field == "loras"]
    return [_text(part, field) for part in same] if len(same) > 1 else []


def _rows(columns: dict[str, list[str]], field: str) -> list[dict[str, str]]:
    """One entry for each name; with fewer weights than names it would be unclear to which they belong."""
    if not columns:
        return []
    count = next((len(columns[key]) for key in _ENTRY_KEYS[field] if key in columns), 0)
    if any(len(column) != count for column in columns.values()):
        raise InvalidRequest(
            f"Invalid '{field}': the form does not say which value belongs to which entry. Give every entry the same "
            f"keys, or send '{field}' as one JSON string.",
            param=field,
        )
    return [{key: column[row] for key, column in columns.items()} for row in range(count)]
