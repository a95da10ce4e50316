"""Files as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from enum import StrEnum

from sdxl_gateway.storage.pages import Cut, page


class Purpose(StrEnum):
    """What a file is for; the last one is the server's own."""

    VISION = "vision"
    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a tenant's; times are unix seconds, `expires` None for one without an end."""

    id: str
    tenant: str
    name: str
    purpose: Purpose
    bytes: int
    created: float
    expires: float | None
    blob: str


_NAMES = tuple(field.name for field in fields(StoredFile))
_COLUMNS = ", ".join(_NAMES)
_MARKS = ", ".join("?" * len(_NAMES))


def insert(connection: sqlite3.Connection, file: StoredFile, most_bytes: int | None = None) -> bool:
    """Store a new file; False, and nothing is stored, when its tenant's files would have more than `most_bytes`."""
    if most_bytes is not None and held_bytes(connection, file.tenant) + file.bytes > most_bytes:
        return False
    connection.execute(f"INSERT INTO files ({_COLUMNS}) VALUES ({_MARKS})", astuple(file))  # noqa: S608
    return True


def find(connection: sqlite3.Connection, file_id: str, tenant: str, now: float) -> StoredFile | None:
    """The tenant's file of that id, unless it has expired."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM files WHERE id = ? AND tenant = ? AND (expires IS NULL OR expires > ?)",  # noqa: S608
        (file_id, tenant, now),
    ).fetchone()
    return None if row is None else _file(row)


def one_page(
    connection: sqlite3.Connection, tenant: str, purpose: str | None, now: float, cut: Cut
) -> tuple[list[StoredFile], bool] | None:
    """A page of the tenant's files, and whether more follow; None where there is none of the id it comes after."""
    where, values = "tenant = ? AND (expires IS NULL OR expires > ?)", [tenant, now]
    if purpose is not None:
        where, values = f"{where} AND purpose = ?", [*values, purpose]
    found = page(connection, "files", _COLUMNS, where, values, cut)
    return None if found is None else ([_file(row) for row in found.rows], found.more)


def held_bytes(connection: sqlite3.Connection, tenant: str) -> int:
    """The bytes of the tenant's files, expired ones included that are not deleted yet."""
    row = connection.execute("SELECT coalesce(sum(bytes), 0) FROM files WHERE tenant = ?", (tenant,)).fetchone()
    return int(row[0])


def held_by_tenant(connection: sqlite3.Connection) -> dict[str, int]:
    """The same for every tenant that has files."""
    rows = connection.execute("SELECT tenant, sum(bytes) AS held FROM files GROUP BY tenant")
    return {row["tenant"]: row["held"] for row in rows}


def remove(connection: sqlite3.Connection, file_id: str) -> None:
    """Delete a file."""
    connection.execute("DELETE FROM files WHERE id = ?", (file_id,))


def remove_expired(connection: sqlite3.Connection, now: float) -> list[str]:
    """Delete expired files; their blobs."""
    return _removed(connection, "expires <= ?", now)


def remove_older(connection: sqlite3.Connection, than: float) -> list[str]:
    """Delete files that were created before that time; their blobs."""
    return _removed(connection, "created < ?", than)


def remove_of(connection: sqlite3.Connection, tenant: str) -> list[str]:
    """Delete all files of a tenant; their blobs."""
    return _removed(connection, "tenant = ?", tenant)


def all_of(connection: sqlite3.Connection, tenant: str) -> list[StoredFile]:
    """Every file of a tenant's, the oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM files WHERE tenant = ? ORDER BY created, id",  # noqa: S608
        (tenant,),
    )
    return [_file(row) for row in rows]


def all_ids(connection: sqlite3.Connection, now: float) -> list[str]:
    """The ids of all tenants' files that have not expired, the oldest first."""
    rows = connection.execute("SELECT id FROM files WHERE expires IS NULL OR expires > ? ORDER BY created", (now,))
    return [row["id"] for row in rows]


def named(connection: sqlite3.Connection, ids: Sequence[str]) -> list[StoredFile]:
    """Those of these ids that exist, the oldest first."""
    marks = ", ".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM files WHERE id IN ({marks}) ORDER BY created",  # noqa: S608
        ids,
    )
    return [_file(row) for row in rows]


def all_blobs(connection: sqlite3.Connection) -> set[str]:
    """Every blob that a file refers to."""
    return {row["blob"] for row in connection.execute("SELECT blob FROM files")}


def _removed(connection: sqlite3.Connection, where: str, value: float | str) -> list[str]:
    rows = connection.execute(f"DELETE FROM files WHERE {where} RETURNING blob", (value,))  # noqa: S608
    return [row["blob"] for row in rows.fetchall()]


def _file(row: sqlite3.Row) -> StoredFile:
    given = dict(row)
    return StoredFile(**(given | {"purpose": Purpose(given["purpose"])}))
