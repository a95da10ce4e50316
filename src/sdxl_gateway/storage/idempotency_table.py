"""Replies by tenant, route and key, as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Scope(NamedTuple):
    """Whose key, and to which route: the same key of another tenant, or of another route, is another key."""

    tenant: str
    route: str
    key: str


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """A reply whose body lies in a blob; `fingerprint` is of what was asked, `at` is unix seconds."""

    scope: Scope
    fingerprint: bytes
    status: int
    headers: dict[str, str]
    blob: str
    size_bytes: int
    at: float


_COLUMNS = "tenant, route, key, fingerprint, status, headers, blob, size_bytes, at"
_SCOPED = "tenant = ? AND route = ? AND key = ?"


def find(connection: sqlite3.Connection, scope: Scope, since: float) -> ReplyRow | None:
    """The reply under that key, unless it is older."""
    sought = f"SELECT {_COLUMNS} FROM idempotency WHERE {_SCOPED} AND at >= ?"  # noqa: S608
    row = connection.execute(sought, (*scope, since)).fetchone()
    return None if row is None else _reply(row)


def keep(connection: sqlite3.Connection, row: ReplyRow, cap_bytes: int) -> list[str]:
    """Store a reply in place of an older one, and make room for it; the blobs that are no longer needed."""
    gone = _removed(connection, f"{_SCOPED}", row.scope)
    values = (*row.scope, row.fingerprint, row.status, json.dumps(row.headers), row.blob, row.size_bytes, row.at)
    connection.execute(f"INSERT INTO idempotency ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
    over = (
        "rowid IN (SELECT rowid FROM (SELECT rowid, sum(size_bytes) OVER (ORDER BY at DESC, rowid DESC) AS so_far"
        " FROM idempotency) WHERE so_far > ?)"
    )
    return gone + _removed(connection, over, (cap_bytes,))


def forget_before(connection: sqlite3.Connection, at: float) -> list[str]:
    """Delete older replies; their blobs."""
    return _removed(connection, "at < ?", (at,))


def erase(connection: sqlite3.Connection, tenant: str) -> list[str]:
    """Delete a tenant's replies; their blobs."""
    return _removed(connection, "tenant = ?", (tenant,))


def blobs(connection: sqlite3.Connection) -> set[str]:
    """Every blob that a reply refers to."""
    return {row["blob"] for row in connection.execute("SELECT blob FROM idempotency")}


def of_tenant(connection: sqlite3.Connection, tenant: str) -> list[dict[str, Any]]:
    """Each reply as a plain object, without its body, the oldest first."""
    columns = "route, key, status, size_bytes, at"
    sought = f"SELECT {columns} FROM idempotency WHERE tenant = ? ORDER BY at, rowid"  # noqa: S608
    return [dict(row) for row in connection.execute(sought, (tenant,))]


def _removed(connection: sqlite3.Connection, which: str, values: Iterable[Any]) -> list[str]:
    gone = connection.execute(f"DELETE FROM idempotency WHERE {which} RETURNING blob", tuple(values))  # noqa: S608
    return [row["blob"] for row in gone.fetchall()]


def _reply(row: sqlite3.Row) -> ReplyRow:
    scope = Scope(row["tenant"], row["route"], row["key"])
    headers: dict[str, str] = json.loads(row["headers"])
    return ReplyRow(scope, row["fingerprint"], row["status"], headers, row["blob"], row["size_bytes"], row["at"])
