"""Writes and reads the lines of the audit log's chain."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_SEALED = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}\n?', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Link:
    """A position in the chain: a line's number and hash."""

    seq: int
    digest: str


START = Link(0, "0" * 64)
"""The Link that the very first line follows."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one line says. `at` is unix seconds, `tenant` whose it is, `actor_*` who did it; empty where nobody did.

    `outcome` is "done" or the code of what went wrong, `request` the name the answer carried; `more` is what only some
    have.
    """

    at: float
    event: str
    tenant: str = ""
    actor_tenant: str = ""
    actor_key: str = ""
    target: str = ""
    outcome: str = "done"
    request: str = ""
    more: Mapping[str, Any] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """The record as JSON values, with times in UTC."""
        named = {name: getattr(self, name) for name in FIELDS if name != "at"}
        return {"at": utc(self.at), **named, "more": dict(self.more or {})}


FIELDS = ("at", "event", "tenant", "actor_tenant", "actor_key", "target", "outcome", "request")


class BrokenLine(Exception):
    """A line that is not as it was written, and why."""


@dataclass(frozen=True, slots=True)
class Line:
    """An intact line: its position, the hash of the line before it, and its record."""

    link: Link
    before: str
    said: Mapping[str, Any]


def written(record: Record, after: Link) -> tuple[bytes, Link]:
    """The line that follows `after`, and its position; its hash is the sha256 of the line up to that hash."""
    plain = {"seq": after.seq + 1, **record.plain, "prev": after.digest}
    body = json.dumps(plain, separators=(",", ":"), ensure_ascii=True).encode()[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return body + f',"hash":"{digest}"}}\n'.encode(), Link(after.seq + 1, digest)


def read(line: bytes) -> Line:
    """The line. Raises BrokenLine if it is truncated, changed or no line of the log."""
    found = _SEALED.fullmatch(line)
    if found is None:
        raise BrokenLine("it is cut, or no line of an audit log")
    body, digest = found[1], found[2].decode()
    if hashlib.sha256(body).hexdigest() != digest:
        raise BrokenLine("it is not as it was written: its hash is another")
    said = _parsed(body + b"}")
    return Line(Link(said.pop("seq"), digest), said.pop("prev"), said)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError as problem:
        raise BrokenLine("it is no JSON") from problem
    if not isinstance(said, dict) or not isinstance(said.get("seq"), int) or not isinstance(said.get("prev"), str):
        raise BrokenLine("it has no number, or does not say what it follows")
    return said


def utc(unix_seconds: float) -> str:
    """As "2026-11-26T11:36:11.120Z"."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
