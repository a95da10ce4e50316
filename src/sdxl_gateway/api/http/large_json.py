"""Parses large JSON bodies in memory that is bounded by the body's length.

`json` decodes the whole body at once, in which one emoji makes every character take four bytes, and makes an object of
every `[]`. Here long plain texts, such as pictures, are cut out first, and the rest is small or refused.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

LONG_BYTES = 4096
MAX_REST_BYTES = 2 * 2**20
MAX_VALUES = 10_000
MAX_QUOTES = 100_000
# A single call into C blocks every other thread for as long as it takes.
_PIECE_BYTES = 2**20
_CONTROLS = bytes(range(32))


class TooMuch(ValueError):
    """The body has more of something than any request needs; the text is for the client."""


def parse_large(body: bytearray, parse: Callable[[str], Any]) -> Any:
    """The value; `parse` is json's, for the rest of the text. Consumes `body`. Raises TooMuch, or what json raises."""
    if body.count(b'"') > MAX_QUOTES:
        raise TooMuch(f"it holds more than {MAX_QUOTES} quotation marks")
    return _Cutter(body).value(parse)


class _Cutter:
    def __init__(self, body: bytearray) -> None:
        self._body = body
        self._rest = bytearray()
        self._values = 0
        self._long: list[str] = []
        # Begins with what no key of a request does, and is not to be guessed.
        self._mark = f"\0{secrets.token_hex(8)}:"

    def value(self, parse: Callable[[str], Any]) -> Any:
        done = 0
        for start, end in _texts(self._body):
            self._between(done, start)
            self._text(start, end)
            done = end
        self._between(done, len(self._body))
        self._body.clear()
        return self._restored(parse(self._rest.decode("utf-8-sig")))

    def _between(self, start: int, end: int) -> None:
        """The parts that are not text: brackets, commas, numbers, space."""
        self._values += sum(self._body.count(mark, start, end) for mark in b"[{,")
        if self._values > MAX_VALUES:
            raise TooMuch(f"it holds more than {MAX_VALUES} values")
        self._keep(start, end)

    def _keep(self, start: int, end: int) -> None:
        if len(self._rest) + end - start > MAX_REST_BYTES:
            raise TooMuch(f"beside its pictures it holds more than {MAX_REST_BYTES} bytes")
        self._rest += self._body[start:end]

    def _text(self, start: int, end: int) -> None:
        text = plain_text(self._body, start + 1, end - 1) if end - start > LONG_BYTES else None
        if text is None:
            self._keep(start, end)
        else:
            self._rest += json.dumps(self._mark + str(len(self._long))).encode()
            self._long.append(text)

    def _restored(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(self._mark):
            return self._long[int(value.removeprefix(self._mark))]
        if isinstance(value, list):
            return [self._restored(one) for one in value]
        if isinstance(value, dict):
            return {self._key(key): self._restored(one) for key, one in value.items()}
        return value

    def _key(self, key: str) -> str:
        if key.startswith(self._mark):
            raise TooMuch("a key in it is too long")
        return key


def _texts(body: bytearray) -> Iterator[tuple[int, int]]:
    """The start and end of each text, with its quotation marks; one without an end is left to json."""
    start = body.find(b'"')
    while start >= 0 and (end := _closing(body, start + 1)) >= 0:
        yield start, end
        start = body.find(b'"', end)


def _closing(body: bytearray, start: int) -> int:
    """The index behind the closing quotation mark of the text that begins at `start`; -1 without one."""
    done = start
    while (quote := body.find(b'"', done)) >= 0:
        if _backslashes(body, done, quote) % 2 == 0:
            return quote + 1
        done = quote + 1
    return -1


def _backslashes(body: bytearray, start: int, end: int) -> int:
    """The number of backslashes right before `end`, back to `start`."""
    count = 0
    while window := body[max(start, end - count - _PIECE_BYTES) : end - count]:
        kept = len(window.rstrip(b"\\"))
        count += len(window) - kept
        if kept:
            break
    return count


def plain_text(body: bytearray, start: int, end: int) -> str | None:
    """The text between two quotation marks, with one byte per character; None if it needs more, or is invalid.

    Escapes are decoded in place, so that `body` cannot be used afterwards.
    """
    escaped = body.find(b"\\", start, end) >= 0
    if escaped and body.count(b"\\u", start, end) != body.count(b"\\u00", start, end):
        return None
    if any(not piece.isascii() for piece in _pieces(body, start, end)):
        return None
    if escaped:
        end = _unescape(body, start, end)
    elif any(len(piece.translate(None, _CONTROLS)) != len(piece) for piece in _pieces(body, start, end)):
        return None
    with memoryview(body) as whole, whole[start:end] as part:
        return str(part, "latin-1")


def _pieces(body: bytearray, start: int, end: int) -> Iterator[bytearray]:
    for at in range(start, end, _PIECE_BYTES):
        yield body[at : min(at + _PIECE_BYTES, end)]


def _unescape(body: bytearray, start: int, end: int) -> int:
    """Overwrite the escaped text, which is never shorter, by the decoded one; its new end. Raises what json raises."""
    read = write = start
    while read < end:
        piece = body[read : min(read + _PIECE_BYTES, end)]
        if read + len(piece) < end:
            del piece[_whole_escapes(piece) :]
        text = json.loads(b'"' + piece + b'"').encode("latin-1")
        body[write : write + len(text)] = text
        read, write = read + len(piece), write + len(text)
    return write


def _whole_escapes(piece: bytearray) -> int:
    """How many of its bytes can be decoded without what follows."""
    last = piece.rfind(b"\\", len(piece) - 5)
    run = _backslashes(piece, 0, last + 1) if last >= 0 else 0
    return last if run % 2 else len(piece)
