"""Takes the parts of a form, gives the fields and pictures they say, by the habits of the clients that send forms."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from sdxl_gateway.api.asks.fields import MAX_IMAGES
from sdxl_gateway.api.asks.loras import NAME_KEYS
from sdxl_gateway.api.asks.parse import Files
from sdxl_gateway.api.asks.pictures import decoded, picture_kind, too_large, too_many, upload
from sdxl_gateway.api.http.json_body import parse_json
from sdxl_gateway.api.http.multipart import MAX_PARTS, PartBegin, PartEnd, PartEvent
from sdxl_gateway.core.errors import InvalidRequest

_IMAGE = re.compile(r"images?(\[\d{0,3}\])?")
_MASK = re.compile(r"mask(\[0?\])?")
_LORA = re.compile(r"loras?\[(\d{0,3})\](?:\[([A-Za-z_]{1,40})\])?")
_SPOKEN = ("prompt", "negative_prompt")
# A file under a name that is no picture can only be a long text; more of it than this is never needed.
MAX_FILE_TEXT_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Part:
    """One whole part of a form."""

    name: str
    data: bytes
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """Texts by name, in the order they came, and the parts that may be pictures."""

    texts: dict[str, Any] = field(default_factory=dict)
    image_parts: tuple[Part, ...] = ()
    mask_parts: tuple[Part, ...] = ()


async def collect(events: AsyncIterator[PartEvent], max_part_bytes: int) -> list[Part]:
    """The parts of a form, whole. Raises BodyTooLarge naming a part above `max_part_bytes`."""
    found: list[Part] = []
    begun, data = PartBegin("", False), bytearray()
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


def parse_urlencoded(body: bytes) -> list[Part]:
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_PARTS)
    except ValueError:
        raise InvalidRequest("The form could not be read.", code="invalid_form") from None
    return [Part(name, value.encode("utf-8", "replace")) for name, value in pairs]


def read_form(parts: list[Part]) -> Form:
    """Empty texts are absent, of repeated fields the last that says something counts, `n=0` means nothing was said."""
    images = tuple(part for part in parts if _IMAGE.fullmatch(part.name))
    masks = tuple(part for part in parts if _MASK.fullmatch(part.name))
    rest = [part for part in parts if part not in images and part not in masks]
    texts: dict[str, Any] = {
        part.name: word for part in rest if not _LORA.fullmatch(part.name) and (word := _word(part))
    }
    loras = _loras(rest)
    if loras:
        texts["loras"] = loras
    if texts.get("n", "").strip() == "0":
        del texts["n"]
    if "extra_body" in texts:
        texts["extra_body"] = parse_json(texts["extra_body"].encode("utf-8", "surrogatepass"), param="extra_body")
    return Form(texts, images, masks)


def read_files(form: Form, max_bytes: int) -> Files:
    """The pictures of a form; texts beside real files are ignored, texts alone are data URLs or base64."""
    images = _pictures(form.image_parts)
    if len(images) > MAX_IMAGES:
        raise too_many("image")
    several = len(images) > 1
    read = [_picture(part, f"image[{i}]" if several else "image", max_bytes) for i, part in enumerate(images)]
    masks = _pictures(form.mask_parts)
    return Files(tuple(read), _picture(masks[-1], "mask", max_bytes) if masks else None)


def _pictures(parts: tuple[Part, ...]) -> list[Part]:
    """Without what only stands there empty."""
    files = [part for part in parts if part.is_file or picture_kind(part.data)]
    return files or [part for part in parts if part.data.strip() not in (b"", b"null")]


def _picture(part: Part, param: str, max_bytes: int) -> Any:
    if part.is_file or picture_kind(part.data):
        return upload(part.data, param, max_bytes)
    return upload(decoded(_text(part, param), param, max_bytes), param, max_bytes)


def _word(part: Part) -> str:
    """A text field's text; "" when it says nothing."""
    if part.is_file:
        return part.data[:MAX_FILE_TEXT_BYTES].decode("utf-8", "replace")
    said = _text(part, part.name[:100])
    return "" if said.strip() == "null" and part.name not in _SPOKEN else said


def _text(part: Part, param: str) -> str:
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"Invalid '{param}': the text is not UTF-8.", param=param) from None


def _loras(parts: list[Part]) -> list[Any]:
    """`loras[0][name]` by index, `loras[][name]` and `loras[][weight]` by order, `loras[]` and repeats as words."""
    plain = [part for part in parts if part.name in ("loras", "lora") and part.data.strip() not in (b"", b"null")]
    words: list[Any] = [_text(part, "loras") for part in plain] if len(plain) > 1 else []
    columns: dict[str, list[str]] = {}
    numbered: dict[int, dict[str, str]] = {}
    for part in parts:
        match = _LORA.fullmatch(part.name)
        if not match or not (said := _text(part, "loras")):
            continue
        if match[2] is None:
            words.append(said)
        elif match[1]:
            numbered.setdefault(int(match[1]), {})[match[2]] = said
        else:
            columns.setdefault(match[2], []).append(said)
    return [*words, *(numbered[index] for index in sorted(numbered)), *_rows(columns)]


def _rows(columns: dict[str, list[str]]) -> list[dict[str, str]]:
    """One entry for each name; a form that gives fewer weights than names does not say whose they are."""
    if not columns:
        return []
    count = next((len(columns[key]) for key in NAME_KEYS if key in columns), 0)
    if any(len(column) != count for column in columns.values()):
        raise InvalidRequest(
            "Invalid 'loras': the form does not say which weight belongs to which LoRA. Give every entry the same "
            "keys, or send 'loras' as one JSON string.",
            param="loras",
        )
    return [{key: column[row] for key, column in columns.items()} for row in range(count)]
