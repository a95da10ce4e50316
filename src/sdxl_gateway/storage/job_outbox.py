"""The changes of jobs that are to be reported to other gateways; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.storage import job_table, webhook_table


@dataclass(frozen=True, slots=True)
class Untold:
    """A job as it stands, with the number of its changes since it was reported."""

    job: StoredJob
    changes: int


def untold(connection: sqlite3.Connection, most: int) -> list[Untold]:
    """At most `most` jobs with unreported changes, in the order of their arrival."""
    query = f"SELECT {job_table.COLUMNS}, untold FROM jobs WHERE untold > 0 ORDER BY number LIMIT ?"  # noqa: S608
    return [Untold(job_table.job_of(row), row["untold"]) for row in connection.execute(query, (most,))]


def note_told(connection: sqlite3.Connection, told: Iterable[Untold]) -> None:
    """Mark these as reported; one that has changed meanwhile stays to be reported."""
    values = [(one.job.number, one.changes) for one in told]
    connection.executemany("UPDATE jobs SET untold = 0 WHERE number = ? AND untold = ?", values)


def tell_again(connection: sqlite3.Connection, over_since: float, too_old: float) -> None:
    """Mark as unreported all unfinished jobs, and those that were finished after `over_since`; those that were finished
    by `too_old` are not reported at all."""
    connection.execute("UPDATE jobs SET untold = untold + 1 WHERE finished IS NULL OR finished > ?", (over_since,))
    connection.execute("UPDATE jobs SET untold = 0 WHERE untold > 0 AND finished <= ?", (too_old,))


def adopt(connection: sqlite3.Connection, job: StoredJob) -> list[str]:
    """Store a job that another gateway accepted; the blobs of uploads that its former row had."""
    needless = let_go(connection, job.id)
    job_table.insert(connection, job)
    return needless


def let_go(connection: sqlite3.Connection, job_id: str) -> list[str]:
    """Delete a job that another gateway owns now, and its pending webhooks; the blobs of its uploads."""
    rows = connection.execute("DELETE FROM jobs WHERE id = ? RETURNING uploads", (job_id,)).fetchall()
    webhook_table.withdraw(connection, job_id)
    return [row["uploads"] for row in rows if row["uploads"] is not None]


def unknown(connection: sqlite3.Connection, tokens: Mapping[str, int]) -> list[str]:
    """Those of these ids that are not here, or only under a lower token."""
    found = {job_id: job_table.find(connection, job_id) for job_id in tokens}
    return [job_id for job_id, job in found.items() if job is None or job.token < tokens[job_id]]
