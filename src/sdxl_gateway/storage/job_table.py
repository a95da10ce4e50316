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
    """A job that is taken up: claimed, and not finished."""

    tenant: str
    priority: Priority


@dataclass(frozen=True, slots=True)
class Tenants:
    """Tenants of whom no job is to be claimed now, and those of whom at most one is."""

    closed: frozenset[str] = frozenset()
    careful: frozenset[str] = frozenset()

    def after(self, tenant: str) -> Tenants:
        """The same once a job of that tenant was claimed."""
        return replace(self, closed=self.closed | {tenant}) if tenant in self.careful else self


ALL = Tenants()
"""Jobs of all tenants may be claimed."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a list holds; None stands for all."""

    tenant: str | None = None
    state: JobState | None = None
    batch: str | None = None


def insert(connection: sqlite3.Connection, job: StoredJob) -> None:
    """Store a new job; its number is the next one."""
    connection.execute(_INSERT, [getattr(job, name) for name in _GIVEN])


def unfinished(connection: sqlite3.Connection, tenant: str) -> int:
    """How many unfinished jobs the tenant has."""
    query = f"SELECT COUNT(*) FROM jobs WHERE tenant = ? AND {_UNFINISHED}"  # noqa: S608
    return int(connection.execute(query, (tenant,)).fetchone()[0])


def find(connection: sqlite3.Connection, job_id: str) -> StoredJob | None:
    """The job of that id."""
    return next(_jobs(connection.execute(f"{_SELECT} WHERE id = ?", (job_id,))), None)


def by_key(connection: sqlite3.Connection, key: str, since: float) -> StoredJob | None:
    """The latest job under the Idempotency-Key of that digest, created at `since` or later."""
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
    """The ids of the jobs of a batch's lines, by custom_id; of several of one line the latest."""
    rows = connection.execute("SELECT custom_id, id FROM jobs WHERE batch = ? ORDER BY number", (batch_id,))
    return {row["custom_id"] or "": row["id"] for row in rows}


def claim(
    connection: sqlite3.Connection,
    live: Sequence[Live],
    most: int,
    suspect_attempts: int,
    tenants: Tenants = ALL,
) -> list[StoredJob]:
    """Claim the jobs that are to be taken up now; each has one attempt more.

    Higher classes come first, then the tenant with the fewest `live` jobs, then arrival; `tenants` restricts whose. At
    most `most` jobs of a class and those above it are live, so that a lower class never keeps a higher one out. A job
    that was cut off in `suspect_attempts` attempts is claimed alone, so that a crash can be blamed on it.
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
    """Put it back into its place in the queue, unless it is finished; without `counted` the attempt is taken off."""
    connection.execute(
        "UPDATE jobs SET state = 'queued', attempts = attempts - ?, untold = untold + 1"
        " WHERE id = ? AND state = 'in_progress'",
        (0 if counted else 1, job_id),
    )


def end(
    connection: sqlite3.Connection, job_id: str, ending: Ending, now: float, *, started: float | None = None
) -> StoredJob | None:
    """End the job; it is returned with its uploads. None when it was finished before, or does not exist."""
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
    """The claimed ones; after a start, what the last server left."""
    return list(_jobs(connection.execute(f"{_SELECT} WHERE state = 'in_progress' ORDER BY number")))


def uploads(connection: sqlite3.Connection) -> set[str]:
    """Every blob that a job refers to."""
    return {row[0] for row in connection.execute("SELECT uploads FROM jobs WHERE uploads IS NOT NULL")}


def forget(connection: sqlite3.Connection, before: float, most: int) -> int:
    """Delete at most `most` of the jobs that were finished before that time; how many that were."""
    chosen = "SELECT number FROM jobs WHERE finished IS NOT NULL AND finished < ? ORDER BY finished LIMIT ?"
    return connection.execute(f"DELETE FROM jobs WHERE number IN ({chosen})", (before, most)).rowcount  # noqa: S608


def with_texts(connection: sqlite3.Connection, before: float, most: int) -> list[StoredJob]:
    """At most `most` of the jobs that were finished before that time and still have their prompts."""
    where = "finished IS NOT NULL AND texts_gone = 0 AND finished < ?"
    return list(_jobs(connection.execute(f"{_SELECT} WHERE {where} ORDER BY finished LIMIT ?", (before, most))))


def forget_texts(connection: sqlite3.Connection, job: StoredJob) -> None:
    """Store the job's request and result, from which its prompts were removed."""
    values = job.ask, job.result, job.number
    connection.execute("UPDATE jobs SET ask = ?, result = ?, texts_gone = 1 WHERE number = ?", values)


def erase(connection: sqlite3.Connection, tenant: str) -> list[str | None]:
    """Delete every job of the tenant; the blobs of their uploads."""
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
