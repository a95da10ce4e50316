"""What the server and a decoding process say to each other: questions about an upload, answers with its pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.picture import Mode
from sdxl_gateway.ipc.codec import Malformed, from_plain, to_plain


@dataclass(frozen=True, slots=True)
class Measure:
    """How many pixels has it? Only its header is looked at."""

    field: str


@dataclass(frozen=True, slots=True)
class DecodePicture:
    """Its colours; with `holes` also where it is transparent."""

    field: str
    holes: bool


@dataclass(frozen=True, slots=True)
class DecodeMask:
    """Where it is transparent, as a mask for a picture of that size."""

    field: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ReadWritten:
    """What does the file say of how it was made? No pixel is decoded."""

    field: str


@dataclass(frozen=True, slots=True)
class Ready:
    """First word of a process: it is confined, and has loaded what it needs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What Measure asked for."""

    pixels: int


@dataclass(frozen=True, slots=True)
class Planes:
    """Images of one size and those modes, one behind the other in the memory that came along."""

    width: int
    height: int
    modes: tuple[Mode, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What ReadWritten asked for; `recipe` is JSON. Both are empty where the file says nothing."""

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
    """The message `encode` was given. Raises Malformed for anything else."""
    try:
        plain = json.loads(text)
        kind, body = KINDS[plain["kind"]], plain["body"]
    except (ValueError, RecursionError, LookupError, TypeError) as problem:
        raise Malformed("not a message") from problem
    message: Message = from_plain(kind, body, ())
    return message
