"""What other gateways are still to hear of the jobs in the database; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.storage import job_table, webhook_table


@dataclass(frozen=True, slots=True)
class Untold:
    """A job as it stands, after so many changes since somebody was told of it."""

    job: StoredJob
    changes: int


def untold(connection: sqlite3.Connection, most: int) -> list[Untold]:
    """At most so many, in the order of their arrival."""
    query = f"SELECT {job_table.COLUMNS}, untold FROM jobs WHERE untold > 0 ORDER BY number LIMIT ?"  # noqa: S608
    return [Untold(job_table.job_of(row), row["untold"]) for row in connection.execute(query, (most,))]


def note_told(connection: sqlite3.Connection, told: Iterable[Untold]) -> None:
    """These were told; one that changed meanwhile is to be told again."""
    values = [(one.job.number, one.changes) for one in told]
    connection.executemany("UPDATE jobs SET untold = 0 WHERE number = ? AND untold = ?", values)


def tell_again(connection: sqlite3.Connection, over_since: float, too_old: float) -> None:
    """Nobody knows of any job that is not over, nor of those that were over since; nor is to of those that are too
    old."""
    connection.execute("UPDATE jobs SET untold = untold + 1 WHERE finished IS NULL OR finished > ?", (over_since,))
    connection.execute("UPDATE jobs SET untold = 0 WHERE untold > 0 AND finished <= ?", (too_old,))


def adopt(connection: sqlite3.Connection, job: StoredJob) -> list[str]:
    """Remember a job that another gateway accepted, as the latest here; the uploads of what was known of it."""
    needless = let_go(connection, job.id)
    job_table.insert(connection, job)
    return needless


def let_go(connection: sqlite3.Connection, job_id: str) -> list[str]:
    """Forget a job that is another gateway's, and what was to be told of its end; its uploads."""
    rows = connection.execute("DELETE FROM jobs WHERE id = ? RETURNING uploads", (job_id,)).fetchall()
    webhook_table.withdraw(connection, job_id)
    return [row["uploads"] for row in rows if row["uploads"] is not None]


def unknown(connection: sqlite3.Connection, tokens: Mapping[str, int]) -> list[str]:
    """Those of these ids that no job has, or only under a lower token."""
    found = {job_id: job_table.find(connection, job_id) for job_id in tokens}
    return [job_id for job_id, job in found.items() if job is None or job.token < tokens[job_id]]
