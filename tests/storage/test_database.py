"""The database: work in turn, whole or not at all, told what a client may know."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sdxl_gateway.core.errors import StartProblem, StorageFull, Unavailable
from sdxl_gateway.storage import database as module
from sdxl_gateway.storage.database import FILE_NAME, Database, DatabaseTooNew, opened
from sdxl_gateway.storage.migrations import MIGRATIONS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as made:
        made.submit(partial(_execute, "CREATE TABLE things (name TEXT NOT NULL)")).result()
        yield made


def _execute(statement: str, connection: sqlite3.Connection) -> list[sqlite3.Row]:
    return connection.execute(statement).fetchall()


def names(database: Database) -> list[str]:
    rows = database.submit(partial(_execute, "SELECT name FROM things ORDER BY rowid")).result()
    return [row["name"] for row in rows]


def added(name: str, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO things VALUES (?)", (name,))


def test_work_is_done_in_turn(database: Database) -> None:
    for place in range(50):
        database.submit(partial(added, f"{place:02}"))
    assert names(database) == [f"{place:02}" for place in range(50)]


def test_work_that_fails_leaves_nothing(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        added("one", connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.submit(half).result()
    database.submit(partial(added, "two")).result()
    assert names(database) == ["two"]


def test_those_who_wait_together_are_written_at_once_and_each_is_told_its_own(database: Database) -> None:
    statements, free = list[str](), threading.Event()

    def watch(connection: sqlite3.Connection) -> None:
        free.wait(10)
        connection.set_trace_callback(statements.append)

    def half(connection: sqlite3.Connection) -> None:
        added("half", connection)
        raise ValueError("no")

    database.submit(watch)
    good = [database.submit(partial(added, f"{place:02}")) for place in range(20)]
    bad = database.submit(half)
    free.set()
    assert [one.result() for one in good] == [None] * 20
    assert isinstance(bad.exception(), ValueError)
    assert statements.count("COMMIT") <= 3
    assert names(database) == [f"{place:02}" for place in range(20)]


def test_what_ends_the_transaction_for_one_harms_no_other_in_it(database: Database) -> None:
    free = threading.Event()

    def ending(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise ValueError("all of it")

    def waiting(_: sqlite3.Connection) -> None:
        free.wait(10)

    database.submit(waiting)
    before, bad, after = (database.submit(one) for one in (partial(added, "before"), ending, partial(added, "after")))
    free.set()
    assert before.result() is after.result() is None
    assert isinstance(bad.exception(), ValueError)
    assert names(database) == ["before", "after"]


def test_who_waits_beside_a_write_that_the_disk_cannot_take_is_served(database: Database) -> None:
    free = threading.Event()
    pages = database.submit(partial(_execute, "PRAGMA page_count")).result()[0][0]
    database.submit(partial(_execute, f"PRAGMA max_page_count={pages}")).result()
    database.submit(lambda _: free.wait(10))
    large, looking = database.submit(partial(added, "x" * 100_000)), database.submit(partial(_execute, "SELECT 7"))
    free.set()
    assert isinstance(large.exception(), StorageFull)
    assert looking.result()[0][0] == 7


def test_who_leaves_before_its_turn_writes_nothing(database: Database) -> None:
    free = threading.Event()

    def waiting(_: sqlite3.Connection) -> None:
        free.wait(10)

    database.submit(waiting)
    left = database.submit(partial(added, "left"))
    assert left.cancel()
    free.set()
    assert names(database) == []


async def test_from_an_event_loop(database: Database) -> None:
    await database.run(partial(added, "one"))
    assert names(database) == ["one"]


def test_what_is_done_survives_a_kill(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from sdxl_gateway.storage.database import Database
database = Database(Path({str(tmp_path)!r}))
database.open()
database.submit(lambda c: c.execute("CREATE TABLE things (name TEXT)")).result()
database.submit(lambda c: c.execute("INSERT INTO things VALUES ('kept')")).result()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with opened(tmp_path) as again:
        assert names(again) == ["kept"]


def test_its_file_is_for_the_servers_user_alone(database: Database, tmp_path: Path) -> None:
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_older_database_is_brought_up_to_date_once(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path) as made:
            assert made.submit(partial(_execute, "PRAGMA user_version")).result()[0][0] == len(MIGRATIONS)


def test_a_newer_one_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as made:
        made.submit(partial(_execute, f"PRAGMA user_version={len(MIGRATIONS) + 1}")).result()
    with pytest.raises(DatabaseTooNew, match="later one"):
        Database(tmp_path).open()


def test_a_step_that_breaks_leaves_the_version_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path):
        pass
    broken = (*MIGRATIONS, "CREATE TABLE half (a TEXT); NOT A STATEMENT")
    monkeypatch.setattr(module, "MIGRATIONS", broken)
    with pytest.raises(StartProblem):
        Database(tmp_path).open()
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE half (a TEXT)"))
    with opened(tmp_path) as mended:
        assert mended.submit(partial(_execute, "SELECT * FROM half")).result() == []


def test_what_is_no_database_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database at all, and long enough to be one" * 40)
    with pytest.raises(StartProblem, match="cannot be used"):
        Database(tmp_path).open()


def test_a_full_disk_is_told_and_gets_over(database: Database) -> None:
    pages = database.submit(partial(_execute, "PRAGMA page_count")).result()[0][0]
    database.submit(partial(_execute, f"PRAGMA max_page_count={pages}")).result()
    with pytest.raises(StorageFull):
        database.submit(partial(added, "x" * 100_000)).result()
    database.submit(partial(_execute, "PRAGMA max_page_count=100000")).result()
    database.submit(partial(added, "small")).result()
    assert names(database) == ["small"]


def test_a_database_held_elsewhere_is_told(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database.submit(partial(_execute, "SELECT 1")).result()
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.0)
    with opened_impatiently(tmp_path, other) as impatient, pytest.raises(Unavailable):
        impatient.submit(partial(added, "one")).result()
    other.execute("ROLLBACK")
    other.close()
    database.submit(partial(added, "two")).result()
    assert names(database) == ["two"]


def opened_impatiently(folder: Path, other: sqlite3.Connection) -> _Closing:
    """Opened while `other` lets go of it for a moment."""
    other.execute("ROLLBACK")
    made = Database(folder)
    made.open()
    other.execute("BEGIN IMMEDIATE")
    return _Closing(made)


class _Closing:
    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Database:
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()


def test_the_log_beside_it_stays_small(database: Database, tmp_path: Path) -> None:
    for place in range(300):
        database.submit(partial(added, f"{place}" * 20_000)).result()
    log = tmp_path / f"{FILE_NAME}-wal"
    assert log.stat().st_size <= module.WAL_BYTES
