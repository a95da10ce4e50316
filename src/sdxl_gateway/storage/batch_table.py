"""Batches as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, fields, replace
from typing import Any

from sdxl_gateway.core.batch import OVER, Batch, BatchState, LineError, LineOutput
from sdxl_gateway.storage.pages import Cut, page

_COLUMNS = ", ".join(field.name for field in fields(Batch))
_MARKS = ", ".join(f":{field.name}" for field in fields(Batch))
_SET = ", ".join(f"{field.name} = :{field.name}" for field in fields(Batch))
_JSON = ("metadata", "times", "errors")
_OVER = ", ".join(f"'{state}'" for state in sorted(OVER))

Change = Callable[[Batch], Batch]


def add(connection: sqlite3.Connection, batch: Batch, most: int) -> bool:
    """Store a new batch; False, and nothing is stored, when its tenant has `most` unfinished ones already."""
    query = f"SELECT COUNT(*) FROM batches WHERE tenant = ? AND state NOT IN ({_OVER})"  # noqa: S608
    if connection.execute(query, (batch.tenant,)).fetchone()[0] >= most:
        return False
    insert(connection, batch)
    return True


def insert(connection: sqlite3.Connection, batch: Batch) -> None:
    """Store a batch."""
    connection.execute(f"INSERT INTO batches ({_COLUMNS}) VALUES ({_MARKS})", _row(batch))  # noqa: S608


def find(connection: sqlite3.Connection, batch_id: str, tenant: str | None = None) -> Batch | None:
    """The batch of that id; of that tenant, where one is named."""
    where, values = ("id = ?", [batch_id]) if tenant is None else ("id = ? AND tenant = ?", [batch_id, tenant])
    return next(_batches(connection, f"WHERE {where}", *values), None)


def one_page(connection: sqlite3.Connection, tenant: str | None, cut: Cut) -> tuple[list[Batch], bool] | None:
    """A page of the tenant's, or of all, and whether more follow; None where there is none of the id it comes after."""
    where, values = ("1", []) if tenant is None else ("tenant = ?", [tenant])
    found = page(connection, "batches", _COLUMNS, where, values, cut)
    return None if found is None else ([_batch(row) for row in found.rows], found.more)


def unfinished(connection: sqlite3.Connection) -> list[Batch]:
    """The unfinished ones, the oldest first."""
    return list(_batches(connection, f"WHERE state NOT IN ({_OVER}) ORDER BY created, id"))


def over(connection: sqlite3.Connection) -> list[str]:
    """The ids of the finished ones, the oldest first."""
    rows = connection.execute(f"SELECT id FROM batches WHERE state IN ({_OVER}) ORDER BY created, id")  # noqa: S608
    return [row["id"] for row in rows]


def named(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Batch]:
    """Those of these ids that exist, the oldest first."""
    marks = ", ".join("?" * len(ids))
    return list(_batches(connection, f"WHERE id IN ({marks}) ORDER BY created, id", *ids))


def all_of(connection: sqlite3.Connection, tenant: str) -> list[Batch]:
    """Every batch of a tenant's, the oldest first."""
    return list(_batches(connection, "WHERE tenant = ? ORDER BY created, id", tenant))


def change(connection: sqlite3.Connection, batch_id: str, how: Change) -> Batch | None:
    """Store the batch as `how` changes it; a finished one stays as it is. None when there is none."""
    batch = find(connection, batch_id)
    if batch is None or batch.state.over:
        return batch
    changed = how(batch)
    connection.execute(f"UPDATE batches SET {_SET} WHERE id = :id", _row(changed))  # noqa: S608
    return changed


def add_output(connection: sqlite3.Connection, output: LineOutput) -> bool:
    """Store the answer to a line; False when it has one already, or when its batch is gone or finished."""
    batch = find(connection, output.batch)
    if batch is None or batch.state.over:
        return False
    columns = "batch, line, custom_id, failed, blob, bytes"
    added = connection.execute(
        f"INSERT OR IGNORE INTO batch_outputs ({columns}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
        astuple(output),
    )
    if not added.rowcount:
        return False
    change(connection, output.batch, lambda batch: _counted(batch, output))
    return True


def _counted(batch: Batch, output: LineOutput) -> Batch:
    return replace(
        batch,
        completed=batch.completed + (not output.failed),
        failed=batch.failed + output.failed,
        output_bytes=batch.output_bytes + output.bytes,
    )


def outputs(connection: sqlite3.Connection, batch_id: str) -> list[LineOutput]:
    """Its answers, in the order of their lines."""
    rows = connection.execute(
        "SELECT batch, line, custom_id, failed, blob, bytes FROM batch_outputs WHERE batch = ? ORDER BY line",
        (batch_id,),
    )
    return [LineOutput(**(dict(row) | {"failed": bool(row["failed"])})) for row in rows]


def drop_outputs(connection: sqlite3.Connection, batch_id: str) -> list[str]:
    """Delete its answers; their blobs."""
    rows = connection.execute("DELETE FROM batch_outputs WHERE batch = ? RETURNING blob", (batch_id,))
    return [row["blob"] for row in rows.fetchall()]


def remove(connection: sqlite3.Connection, batch_id: str) -> None:
    """Delete a batch, except its answers."""
    connection.execute("DELETE FROM batches WHERE id = ?", (batch_id,))


def remove_of(connection: sqlite3.Connection, tenant: str) -> list[Batch]:
    """Delete all batches of a tenant; they are returned."""
    return _removed(connection, all_of(connection, tenant))


def remove_older(connection: sqlite3.Connection, than: float) -> list[Batch]:
    """Delete finished batches that were created before that time; they are returned."""
    return _removed(connection, list(_batches(connection, f"WHERE created < ? AND state IN ({_OVER})", than)))


def all_blobs(connection: sqlite3.Connection) -> set[str]:
    """Every blob that a batch or an answer refers to."""
    query = "SELECT lines FROM batches WHERE lines IS NOT NULL UNION SELECT blob FROM batch_outputs"
    return {row[0] for row in connection.execute(query)}


def _removed(connection: sqlite3.Connection, batches: Iterable[Batch]) -> list[Batch]:
    for batch in batches:
        remove(connection, batch.id)
    return list(batches)


def _batches(connection: sqlite3.Connection, where: str, *values: Any) -> Iterator[Batch]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM batches {where}", values)  # noqa: S608
    return map(_batch, rows)


def _row(batch: Batch) -> dict[str, Any]:
    plain = {field.name: getattr(batch, field.name) for field in fields(Batch)}
    told = {name: plain[name] for name in _JSON} | {"errors": [asdict(error) for error in batch.errors]}
    return plain | {name: json.dumps(dict(value) if name != "errors" else value) for name, value in told.items()}


def _batch(row: sqlite3.Row) -> Batch:
    given = dict(row)
    told = {name: json.loads(given[name]) for name in _JSON}
    errors = tuple(LineError(**error) for error in told["errors"])
    return Batch(**(given | told | {"errors": errors, "state": BatchState(given["state"])}))
