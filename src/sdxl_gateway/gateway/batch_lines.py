"""Takes the file of a batch piece by piece, gives its lines, or all that is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.batch import Batch, LineError
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError, InvalidRequest
from sdxl_gateway.core.stored_job import StoredJob

MOST_ERRORS = 100
"""After so many a file is read no further."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a batch; `model` is as it was asked for, "" where it was not."""

    number: int
    custom_id: str
    model: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request would have been answered with; of the headers, those that tell of its pictures. It is not
    `whole` where the bytes of some picture are out of reach."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True


class LineFormat(Protocol):
    """How lines are read, and requests answered, over HTTP."""

    def read(self, number: int, line: bytes, endpoint: str) -> BatchLine:
        """Blocks. Raises InvalidRequest naming what is wrong."""

    async def ask(self, line: BatchLine, endpoint: str, caller: Caller) -> Ask:
        """What the line asks for, whole. Raises a Refusal."""

    async def answer(self, line: BatchLine, job: StoredJob, batch: Batch) -> Answer:
        """What came of the line's job, which is over."""

    def refusal(self, error: GatewayError) -> Answer:
        """What is said instead of pictures."""


Read = Callable[[int, bytes], BatchLine]


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole file: how many requests, their model where it is one and the same, or what is wrong."""

    total: int
    model: str | None
    errors: tuple[LineError, ...]


def split_lines(pieces: Iterable[bytes], most_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank, with its number from 1; None for one of more than `most_bytes`."""
    held, number = bytearray(), 1
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield from _line(held + end, number, most_bytes)
            held.clear()
            number += 1
        held += rest
        del held[most_bytes + 1 :]
    yield from _line(held, number, most_bytes)


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Each line of what this server wrote itself, however long."""
    return (line for _, line in split_lines(pieces, sys.maxsize - 1) if line is not None)


def _line(held: bytearray, number: int, most_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    if held and not held.isspace():
        yield number, bytes(held) if len(held) <= most_bytes else None


def check(
    pieces: Iterable[bytes], read: Read, keep: Callable[[bytes], object], *, most_lines: int, most_line_bytes: int
) -> Checked:
    """Every line of a file read once, and given to `keep`; at most one is in memory at a time. Blocks."""
    errors: list[LineError] = []
    seen: set[str] = set()
    models: set[str] = set()
    for number, line in split_lines(pieces, most_line_bytes):
        try:
            found = _read(number, line, read, most_line_bytes)
            if found.custom_id in seen:
                raise InvalidRequest("The custom_id of an earlier line.", param="custom_id", code="duplicate_custom_id")
        except InvalidRequest as error:
            errors.append(LineError(error.code or "invalid_line", error.message, number, error.param))
            if len(errors) >= MOST_ERRORS:
                break
            continue
        seen.add(found.custom_id)
        models.add(found.model)
        if len(seen) > most_lines:
            errors.append(LineError("too_many_lines", f"A batch has at most {most_lines} requests."))
            break
        keep((line or b"") + b"\n")
    if not seen and not errors:
        errors.append(LineError("empty_file", "The file holds no request."))
    return Checked(len(seen), models.pop() or None if len(models) == 1 else None, tuple(errors))


def _read(number: int, line: bytes | None, read: Read, most_bytes: int) -> BatchLine:
    if line is None:
        raise InvalidRequest(f"A line has at most {most_bytes} bytes.", code="line_too_long")
    return read(number, line)
