"""Pictures as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import astuple
from typing import Any

from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.storage import pages
from sdxl_gateway.storage.pages import Cut

BATCH = 500
"""How many pictures are deleted in one piece of work, so that other work has its turn in between."""

_COLUMNS = "id, ext, tenant, size_bytes, created, expires"


def insert(connection: sqlite3.Connection, image: StoredImage, cap_bytes: int) -> list[StoredImage]:
    """Store `image`; the pictures that made room for it, above `cap_bytes` for all together (0 is no cap).

    The tenant with the most bytes loses its oldest ones first, but never the picture that just came.
    """
    connection.execute(f"INSERT INTO images ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", astuple(image))  # noqa: S608
    _count(connection, image.tenant, image.size_bytes)
    return _made_room(connection, image.id, cap_bytes) if cap_bytes else []


def find(connection: sqlite3.Connection, image_id: str) -> StoredImage | None:
    """The picture of that id."""
    return next(iter(_images(connection, "WHERE id = ?", image_id)), None)


def page(connection: sqlite3.Connection, tenant: str, cut: Cut) -> tuple[list[StoredImage], bool] | None:
    """The page of the tenant's, and whether more follow; None where it has none of the id the page comes after."""
    found = pages.page(connection, "images", _COLUMNS, "tenant = ?", (tenant,), cut)
    return None if found is None else ([StoredImage(*row) for row in found.rows], found.more)


def all_of(connection: sqlite3.Connection, tenant: str) -> list[StoredImage]:
    """The tenant's pictures, the oldest first."""
    return _images(connection, "WHERE tenant = ? ORDER BY created, id", tenant)


def total_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of all pictures."""
    return int(connection.execute("SELECT coalesce(sum(size_bytes), 0) FROM image_bytes").fetchone()[0])


def owned(connection: sqlite3.Connection, image_id: str, tenant: str) -> list[StoredImage]:
    """The tenant's picture of that id, if there is one."""
    return _images(connection, "WHERE id = ? AND tenant = ?", image_id, tenant)


def expired(connection: sqlite3.Connection, now: float) -> list[StoredImage]:
    """Some of those that have expired."""
    return _images(connection, "WHERE expires <= ? LIMIT ?", now, BATCH)


def older(connection: sqlite3.Connection, than: float) -> list[StoredImage]:
    """Some of those that were created before `than`."""
    return _images(connection, "WHERE created < ? LIMIT ?", than, BATCH)


def some_of(connection: sqlite3.Connection, tenant: str) -> list[StoredImage]:
    """Some of the tenant's."""
    return _images(connection, "WHERE tenant = ? LIMIT ?", tenant, BATCH)


def forget(connection: sqlite3.Connection, images: Iterable[StoredImage]) -> None:
    """Delete them; those that are gone already are no error."""
    for image in images:
        if connection.execute("DELETE FROM images WHERE id = ?", (image.id,)).rowcount:
            _count(connection, image.tenant, -image.size_bytes)


def known(connection: sqlite3.Connection, names: Collection[str]) -> set[str]:
    """Those of these file names that pictures have."""
    ids = [name.partition(".")[0] for name in names]
    found = _images(connection, f"WHERE id IN ({', '.join('?' * len(ids))})", *ids)
    return {image.file_name for image in found}


def _made_room(connection: sqlite3.Connection, spared: str, cap_bytes: int) -> list[StoredImage]:
    gone: list[StoredImage] = []
    while total_bytes(connection) > cap_bytes:
        oldest = _oldest_of_the_largest(connection, spared)
        if not oldest:
            break
        forget(connection, oldest)
        gone += oldest
    return gone


def _oldest_of_the_largest(connection: sqlite3.Connection, spared: str) -> list[StoredImage]:
    for row in connection.execute("SELECT tenant FROM image_bytes ORDER BY size_bytes DESC").fetchall():
        oldest = "WHERE tenant = ? AND id <> ? ORDER BY created, id LIMIT 1"
        if found := _images(connection, oldest, row["tenant"], spared):
            return found
    return []


def _count(connection: sqlite3.Connection, tenant: str, size_bytes: int) -> None:
    connection.execute(
        "INSERT INTO image_bytes VALUES (?1, ?2) ON CONFLICT (tenant) DO UPDATE SET size_bytes = size_bytes + ?2",
        (tenant, size_bytes),
    )
    connection.execute("DELETE FROM image_bytes WHERE tenant = ? AND size_bytes <= 0", (tenant,))


def _images(connection: sqlite3.Connection, where: str, *values: Any) -> list[StoredImage]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM images {where}", values)  # noqa: S608
    return [StoredImage(*row) for row in rows]
