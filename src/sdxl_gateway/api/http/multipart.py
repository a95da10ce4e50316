"""Parses multipart bodies as they arrive; a body that is cut short is an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from sdxl_gateway.core.errors import InvalidRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 300
MAX_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part's headers were read; `file_name` is as sent, and never to be used as a path.

    Browsers send an empty file field as a part with an empty file name, which is no file.
    """

    name: str
    file_name: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it has a file name."""
        return bool(self.file_name)


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


PartEvent = PartBegin | bytes | PartEnd


def boundary_of(content_type: str) -> bytes:
    """The boundary in a content type. Raises InvalidRequest."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise broken("it names no boundary")
    return boundary


def broken(reason: str) -> InvalidRequest:
    """The refusal of a multipart body, and why."""
    return InvalidRequest(f"The multipart body could not be read: {reason}.", code="invalid_multipart")


async def parts(content_type: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[PartEvent]:
    """Each part as PartBegin, its bytes, PartEnd. Raises InvalidRequest for a malformed or truncated body."""
    collector = _Collector()
    try:
        parser = MultipartParser(boundary_of(content_type), collector.callbacks())
        async for chunk in chunks:
            parser.write(chunk)
            for event in collector.taken():
                yield event
    except FormParserError:
        raise broken("it is malformed") from None
    if parser.state != MultipartState.END:
        raise broken("it ends before its closing boundary")


class _Collector:
    """Collects the parser's callbacks as events."""

    def __init__(self) -> None:
        self._events: list[PartEvent] = []
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._header_bytes = 0
        self._parts = 0

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_text,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
        }

    def taken(self) -> list[PartEvent]:
        events, self._events = self._events, []
        return events

    def _part_begin(self) -> None:
        self._headers, self._header_bytes = {}, 0
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise broken(f"it has more than {MAX_PARTS} parts")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(bytes(data[start:end]))

    def _part_end(self) -> None:
        self._events.append(PartEnd())

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._header_bytes += len(self._header_name) + len(self._header_value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise broken("the headers of a part are too long")
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name")
        if name is None:
            raise broken("a part has no name")
        file_name = options.get(b"filename", b"")
        self._events.append(PartBegin(name.decode("utf-8", "replace"), file_name.decode("utf-8", "replace")))
