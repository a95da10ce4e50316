"""Verifies an audit log's chain, and finds the first line that is not as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.telemetry.audit.chain import Chain, Head
from sdxl_gateway.telemetry.audit.line import BrokenLine, Line, Link, read


@dataclass(frozen=True, slots=True)
class Broken:
    """The first error: a line of a file, counted from 1, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many intact lines there are, up to the last one, and the error behind it, if any."""

    lines: int
    last: Link
    broken: Broken | None = None


class _Wrong(Exception):
    """Why the walk ends here."""


def verify(chain: Chain, known: str | None = None) -> Verdict:
    """Verify every line from the first to the head; `known` is the hash of an earlier line that must be among them.

    Whoever can write to the folder can rewrite the whole chain, which only a hash that is kept elsewhere reveals.
    """
    head, files = chain.snapshot()
    lines, last, place, seen = 0, head.start, ("head.json", 0), known is None or known == head.start.digest
    try:
        for at, raw in numbered(files):
            place = at
            last = _next(raw, last, head)
            lines, seen = lines + 1, seen or last.digest == known
        _whole(last, head, seen)
    except _Wrong as wrong:
        return Verdict(lines, last, Broken(place[0], place[1], str(wrong)))
    return Verdict(lines, last)


def numbered(files: Iterable[tuple[Path, int]]) -> Iterator[tuple[tuple[str, int], bytes]]:
    """Each line of so many bytes of each file, with the file's name and its number there."""
    for path, size in files:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if (size := size - len(raw)) < 0:
                    break
                yield (path.name, number), raw


def _next(raw: bytes, last: Link, head: Head) -> Link:
    line = _read(raw)
    if line.link.seq != last.seq + 1:
        raise _Wrong(f"it is line {line.link.seq} of the log, where line {last.seq + 1} should follow")
    if line.before != last.digest:
        raise _Wrong("it does not follow the line before it, which was changed or replaced")
    if line.link.seq == head.last.seq and line.link != head.last:
        raise _Wrong("it is not the line that the head remembers")
    return line.link


def _read(raw: bytes) -> Line:
    try:
        return read(raw)
    except BrokenLine as broken:
        raise _Wrong(str(broken)) from broken


def _whole(last: Link, head: Head, seen: bool) -> None:
    if last.seq < head.last.seq:
        raise _Wrong(f"the log was cut behind it: lines {last.seq + 1} to {head.last.seq} are missing")
    if not seen:
        raise _Wrong("no line has the hash that was asked for: the log was written anew")
