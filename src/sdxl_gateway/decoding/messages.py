"""The messages between the server and a decoding process: questions about an upload, answers with its pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.picture import Mode
from sdxl_gateway.ipc.codec import Malformed, from_plain, to_plain


@dataclass(frozen=True, slots=True)
class Measure:
    """How many pixels has it? Only its header is read."""

    field: str


@dataclass(frozen=True, slots=True)
class DecodePicture:
    """Decode its colours, and with `holes` also a mask of where it is transparent."""

    field: str
    holes: bool


@dataclass(frozen=True, slots=True)
class DecodeMask:
    """Decode its transparency, as a mask for a picture of that size."""

    field: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ReadWritten:
    """Read the file's metadata about how the picture was made, without decoding it."""

    field: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The first message of a process: it is confined, and has loaded what it needs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers Measure."""

    pixels: int


@dataclass(frozen=True, slots=True)
class Planes:
    """Answers a request to decode: images of one size and those modes, one after another in the memory sent along."""

    width: int
    height: int
    modes: tuple[Mode, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Answers ReadWritten; `recipe` is JSON. Both are empty if the file has no such metadata."""

    parameters: str
    recipe: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The upload cannot be used."""

    error: GatewayError


Question = Measure | DecodePicture | DecodeMask | ReadWritten
Answer = Measured | Planes | Told | Refused
Message = Question | Ready | Answer

KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Measure, DecodePicture, DecodeMask, ReadWritten, Ready, Measured, Planes, Told, Refused)
}


def encode(message: Message) -> bytes:
    """The message as JSON text."""
    return json.dumps({"kind": type(message).__name__, "body": to_plain(message, [])}).encode()


def decode(text: bytes) -> Message:
    """The message that `encode` was given. Raises Malformed for any other text."""
    try:
        plain = json.loads(text)
        kind, body = KINDS[plain["kind"]], plain["body"]
    except (ValueError, RecursionError, LookupError, TypeError) as problem:
        raise Malformed("not a message") from problem
    message: Message = from_plain(kind, body, ())
    return message
