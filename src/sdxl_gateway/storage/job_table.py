"""Stored jobs as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.stored_job import Ending, JobState, Place, StoredJob

_COLUMNS = tuple(field.name for field in fields(StoredJob))
COLUMNS = ", ".join(_COLUMNS)
_GIVEN = tuple(name for name in _COLUMNS if name != "number")
_INSERT = f"INSERT INTO jobs ({', '.join(_GIVEN)}) VALUES ({', '.join('?' * len(_GIVEN))})"  # noqa: S608
_SELECT = f"SELECT {COLUMNS} FROM jobs"  # noqa: S608
_UNFINISHED = "state IN ('queued', 'in_progress')"
_AHEAD = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND (priority < ? OR (priority = ? AND number < ?))"
_HEADS = "SELECT MIN(number) FROM jobs WHERE state = 'queued' AND priority = ? GROUP BY tenant"


@dataclass(frozen=True, slots=True)
class Live:
    """A job that was claimed and is not over."""

    tenant: str
    priority: Priority


@dataclass(frozen=True, slots=True)
class Tenants:
    """Those of whom nothing is to be taken up now, and those of whom one job at most is."""

    closed: frozenset[str] = frozenset()
    careful: frozenset[str] = frozenset()

    def after(self, tenant: str) -> Tenants:
        """Once a job of that tenant was taken up."""
        return replace(self, closed=self.closed | {tenant}) if tenant in self.careful else self


ALL = Tenants()
"""Nobody is kept waiting."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a list holds; None for any."""

    tenant: str | None = None
    state: JobState | None = None
    batch: str | None = None


def insert(connection: sqlite3.Connection, job: StoredJob) -> None:
    """Remember a new job; its number is the next one."""
    connection.execute(_INSERT, [getattr(job, name) for name in _GIVEN])


def unfinished(connection: sqlite3.Connection, tenant: str) -> int:
    """How many jobs of the tenant are not over."""
    query = f"SELECT COUNT(*) FROM jobs WHERE tenant = ? AND {_UNFINISHED}"  # noqa: S608
    return int(connection.execute(query, (tenant,)).fetchone()[0])


def find(connection: sqlite3.Connection, job_id: str) -> StoredJob | None:
    """The job of that id."""
    return next(_jobs(connection.execute(f"{_SELECT} WHERE id = ?", (job_id,))), None)


def under(connection: sqlite3.Connection, key: str, since: float) -> StoredJob | None:
    """The latest job that was asked for under that key, unless it is older."""
    where = "idempotency_key = ? AND created >= ? ORDER BY number DESC LIMIT 1"
    return next(_jobs(connection.execute(f"{_SELECT} WHERE {where}", (key, since))), None)


def ahead(connection: sqlite3.Connection, job: StoredJob) -> int:
    """How many queued jobs of its class and of higher ones came before it."""
    return int(connection.execute(_AHEAD, (job.priority, job.priority, job.number)).fetchone()[0])


def page(connection: sqlite3.Connection, which: Filter, limit: int, before: Place | None) -> list[StoredJob]:
    """At most `limit`, the latest first, of those behind that place."""
    asked = {"tenant = ?": which.tenant, "state = ?": which.state, "batch = ?": which.batch}
    given = {condition: [value] for condition, value in asked.items() if value is not None}
    behind = {} if before is None else {"(created, id) < (?, ?)": [*before]}
    conditions: dict[str, list[Any]] = {**given, **behind}
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    values = [value for several in conditions.values() for value in several]
    rows = connection.execute(f"{_SELECT}{where} ORDER BY created DESC, id DESC LIMIT ?", (*values, limit))
    return list(_jobs(rows))


def lines(connection: sqlite3.Connection, batch_id: str) -> dict[str, str]:
    """The jobs that lines of the batch are, by custom_id; of several of one line the latest."""
    rows = connection.execute("SELECT custom_id, id FROM jobs WHERE batch = ? ORDER BY number", (batch_id,))
    return {row["custom_id"] or "": row["id"] for row in rows}


def claim(
    connection: sqlite3.Connection,
    live: Sequence[Live],
    most: int,
    suspect_attempts: int,
    tenants: Tenants = ALL,
) -> list[StoredJob]:
    """Jobs to be taken up now, each of which has one attempt more.

    Higher classes first, then the tenant with the fewest `live`, then arrival; `tenants` are those who have to wait.
    `most` are live of a class and those above it, so that a lower one never keeps a higher one out. One that was taken
    up `suspect_attempts` times and never came to its end is claimed for itself alone, so that nobody else is blamed for
    what it does.
    """
    held, claimed = list(live), list[StoredJob]()
    for priority in Priority:
        while sum(one.priority <= priority for one in held) < most:
            job = _next(connection, priority, Counter(one.tenant for one in held), tenants.closed)
            if job is None:
                break
            suspect = job.attempts >= suspect_attempts
            if suspect and held:
                return claimed
            held.append(Live(job.tenant, job.priority))
            tenants = tenants.after(job.tenant)
            claimed.append(_taken_up(connection, job))
            if suspect:
                return claimed
    return claimed


def _next(
    connection: sqlite3.Connection, priority: Priority, held: Counter[str], closed: frozenset[str]
) -> StoredJob | None:
    heads = _jobs(connection.execute(f"{_SELECT} WHERE number IN ({_HEADS})", (priority,)))
    heads = (job for job in heads if job.tenant not in closed)
    return min(heads, key=lambda job: (held[job.tenant], job.number), default=None)


def _taken_up(connection: sqlite3.Connection, job: StoredJob) -> StoredJob:
    claimed = "state = 'in_progress', attempts = attempts + 1, untold = untold + 1"
    connection.execute(f"UPDATE jobs SET {claimed} WHERE number = ?", (job.number,))  # noqa: S608
    return replace(job, state=JobState.IN_PROGRESS, attempts=job.attempts + 1)


def give_back(connection: sqlite3.Connection, job_id: str, *, counted: bool) -> None:
    """To where it stood in the line; nothing where it is over. An attempt that does not count was none."""
    connection.execute(
        "UPDATE jobs SET state = 'queued', attempts = attempts - ?, untold = untold + 1"
        " WHERE id = ? AND state = 'in_progress'",
        (0 if counted else 1, job_id),
    )


def end(
    connection: sqlite3.Connection, job_id: str, ending: Ending, now: float, *, started: float | None = None
) -> StoredJob | None:
    """The job, which is over now, still naming its uploads; None where it was over before, or is not there."""
    job = find(connection, job_id)
    if job is None or job.state.over:
        return None
    connection.execute(
        "UPDATE jobs SET state = ?, result = ?, error = ?, finished = ?, started = ?, uploads = NULL,"
        " untold = untold + 1 WHERE id = ?",
        (ending.state, ending.result, ending.error, now, started, job_id),
    )
    return replace(job, state=ending.state, result=ending.result, error=ending.error, finished=now, started=started)


def in_progress(connection: sqlite3.Connection) -> list[StoredJob]:
    """Those that were claimed; after a start, whatever the last server left."""
    return list(_jobs(connection.execute(f"{_SELECT} WHERE state = 'in_progress' ORDER BY number")))


def uploads(connection: sqlite3.Connection) -> set[str]:
    """The blobs that some job still needs."""
    return {row[0] for row in connection.execute("SELECT uploads FROM jobs WHERE uploads IS NOT NULL")}


def forget(connection: sqlite3.Connection, before: float, most: int) -> int:
    """Deletes at most so many of the jobs that were over before that time; how many that were."""
    chosen = "SELECT number FROM jobs WHERE finished IS NOT NULL AND finished < ? ORDER BY finished LIMIT ?"
    return connection.execute(f"DELETE FROM jobs WHERE number IN ({chosen})", (before, most)).rowcount  # noqa: S608


def with_texts(connection: sqlite3.Connection, before: float, most: int) -> list[StoredJob]:
    """At most so many of the jobs that were over before that time and still say what they were asked in words."""
    where = "finished IS NOT NULL AND texts_gone = 0 AND finished < ?"
    return list(_jobs(connection.execute(f"{_SELECT} WHERE {where} ORDER BY finished LIMIT ?", (before, most))))


def forget_texts(connection: sqlite3.Connection, job: StoredJob) -> None:
    """What it was asked, and its result, are as `job` says now, and without words."""
    values = job.ask, job.result, job.number
    connection.execute("UPDATE jobs SET ask = ?, result = ?, texts_gone = 1 WHERE number = ?", values)


def erase(connection: sqlite3.Connection, tenant: str) -> list[str | None]:
    """Deletes every job of the tenant; the blobs they named."""
    return [row[0] for row in connection.execute("DELETE FROM jobs WHERE tenant = ? RETURNING uploads", (tenant,))]


def job_of(row: sqlite3.Row) -> StoredJob:
    """The job of a row that has all its columns."""
    values = {name: row[name] for name in _COLUMNS}
    kinds = {
        "operation": Operation(row["operation"]),
        "priority": Priority(row["priority"]),
        "state": JobState(row["state"]),
    }
    return StoredJob(**values | kinds)


def _jobs(rows: sqlite3.Cursor) -> Iterator[StoredJob]:
    return map(job_of, rows)
