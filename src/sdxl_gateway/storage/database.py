"""Runs work on the data directory's SQLite database, one piece after another, on a thread of its own."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from sdxl_gateway.core.errors import StartProblem, StorageFull, Unavailable
from sdxl_gateway.core.threads import finished
from sdxl_gateway.storage.directory import usable
from sdxl_gateway.storage.migrations import MIGRATIONS

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

FILE_NAME = "gateway.sqlite3"
MOST_TOGETHER = 64
BUSY_SECONDS = 5.0
"""How long a process waits for another one, such as the CLI, to release the database."""
WAL_BYTES = 16 * 2**20
"""The size that the write-ahead log is truncated to after a checkpoint."""
FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


class DatabaseTooNew(StartProblem):
    """A later version of this server wrote the database."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """A piece of work, and the future that gets its result."""

    work: Work[T]
    outcome: Future[T]

    def taken(self, connection: sqlite3.Connection) -> Callable[[], None]:
        """Run it in a savepoint; a function that settles the future. Raises what ended the whole transaction."""
        connection.execute("SAVEPOINT turn")
        try:
            with _refusals():
                found = self.work(connection)
        except BaseException as error:
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO turn")
            return partial(self.outcome.set_exception, error)
        finally:
            if connection.in_transaction:
                connection.execute("RELEASE turn")
        return partial(self.outcome.set_result, found)


class Database:
    """One connection on one thread; each piece of work is atomic, and durable once its future is done.

    Pieces that wait at the same time are committed together.
    """

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / FILE_NAME
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[Turn[Any]] = deque()

    def open(self) -> None:
        """Create the file if there is none, and migrate its tables; does nothing when it is open already.

        Raises DatabaseTooNew, StartProblem for a file that is no database, and DirectoryUnusable.
        """
        if self._thread is not None:
            return
        thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        try:
            with usable(self._path.parent), _plain(self._path):
                self._connection = thread.submit(_opened, self._path).result()
        except BaseException:
            thread.shutdown()
            raise
        self._thread = thread

    async def run(self, work: Work[T]) -> T:
        """What `work` gives, in its turn. Raises what it raises, and StorageFull."""
        return await finished(self.submit(work))

    def submit(self, work: Work[T]) -> Future[T]:
        """As `run`, for callers without an event loop."""
        if self._thread is None:
            raise RuntimeError("the database is not open")
        turn = Turn(work, Future[T]())
        self._waiting.append(turn)
        self._thread.submit(self._take_turns)
        return turn.outcome

    def close(self) -> None:
        """Close it after all work that was submitted; it may be opened again."""
        if self._thread is None or self._connection is None:
            return
        self._thread.submit(self._connection.close)
        self._thread.shutdown()
        self._thread = self._connection = None

    def _take_turns(self) -> None:
        """All work that waits by now shares one transaction, and so one fsync."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
        turns = [turn for turn in group if turn.outcome.set_running_or_notify_cancel()]
        for settle in self._tried(turns):
            settle()

    def _tried(self, turns: list[Turn[Any]]) -> list[Callable[[], None]]:
        """As `_settled`. When one of several undid the whole transaction, as a full disk does, each is run by itself.

        A database that another process locks is locked for all of them.
        """
        try:
            return self._settled(turns) if turns else []
        except BaseException as error:
            if len(turns) == 1 or isinstance(error, Unavailable):
                return [partial(turn.outcome.set_exception, error) for turn in turns]
        return [settle for turn in turns for settle in self._tried([turn])]

    def _settled(self, turns: list[Turn[Any]]) -> list[Callable[[], None]]:
        """Run all in one transaction; functions to settle their futures after its commit. Raises what undid it all."""
        if self._connection is None:
            raise RuntimeError("the database is not open")
        with _refusals(), _transaction(self._connection):
            return [turn.taken(self._connection) for turn in turns]


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
    _migrate(connection)
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """All pending migrations in one transaction, with the new version."""
    with _transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise DatabaseTooNew(
                f"data_directory: {FILE_NAME} has tables of version {version}, and this server knows those up to"
                f" {len(MIGRATIONS)}: it was written by a later one. Use that one, or another data_directory."
            )
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _refusals() -> Iterator[None]:
    """SQLite's errors become GatewayErrors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = (error.sqlite_errorcode or 0) & 0xFF
        if code in FULL:
            raise StorageFull("The server's disk cannot take what was to be remembered.") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Unavailable("The server's database is held by another process; try again.") from error
        raise


@contextmanager
def _plain(path: Path) -> Iterator[None]:
    """Create the file readable by the server's user alone; a file that is no database becomes a StartProblem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StartProblem(f"data_directory: {path.name} cannot be used: {error}.") from error


@contextmanager
def opened(data_directory: Path) -> Iterator[Database]:
    """The database of a data directory, closed when the context is left."""
    database = Database(data_directory)
    database.open()
    try:
        yield database
    finally:
        database.close()
