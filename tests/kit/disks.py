"""A database whose disk is full for some time."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sdxl_gateway.storage.database import Database


@asynccontextmanager
async def full_disk(database: Database) -> AsyncIterator[None]:
    """Hardly one more page fits until the context is left."""
    pages = await database.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.run(partial(_limit, pages=pages))
    try:
        yield
    finally:
        await database.run(partial(_limit, pages=2**30))


def _limit(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute(f"PRAGMA max_page_count={pages}")
