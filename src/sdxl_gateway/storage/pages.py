"""Takes a table whose rows have an id and a time of creation, gives a page of it by an index: never the whole table."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.text import shown


@dataclass(frozen=True, slots=True)
class Cut:
    """Which page of a list is asked for: at most `limit` rows behind the one whose id is `after`.

    `behind` is the time and id of that row, where they are known.
    """

    limit: int
    after: str | None = None
    newest_first: bool = True
    behind: tuple[float, str] | None = None

    def reaches(self, place: tuple[float, str]) -> bool:
        """Whether a row of that time and id is behind the place where the page begins."""
        return self.behind is None or (place < self.behind if self.newest_first else place > self.behind)


def unknown_after(after: str | None) -> InvalidRequest:
    """The refusal of an `after` that does not exist, or is not the caller's."""
    return InvalidRequest(f"There is nothing of the id {shown(after or '')}.", param="after")


@dataclass(frozen=True, slots=True)
class Rows:
    """A page, and whether more follow."""

    rows: list[sqlite3.Row]
    more: bool


def page(
    connection: sqlite3.Connection, table: str, columns: str, where: str, values: Sequence[Any], cut: Cut
) -> Rows | None:
    """The page of the rows that fit `where`; None when none of these has the id `after`."""
    order, beyond = ("DESC", "<") if cut.newest_first else ("ASC", ">")
    if cut.after is not None or cut.behind is not None:
        last = (
            cut.behind
            or connection.execute(
                f"SELECT created, id FROM {table} WHERE {where} AND id = ?",  # noqa: S608
                (*values, cut.after),
            ).fetchone()
        )
        if last is None:
            return None
        where, values = f"{where} AND (created, id) {beyond} (?, ?)", [*values, *last]
    rows = connection.execute(
        f"SELECT {columns} FROM {table} WHERE {where} ORDER BY created {order}, id {order} LIMIT ?",  # noqa: S608
        (*values, cut.limit + 1),
    ).fetchall()
    return Rows(rows[: cut.limit], len(rows) > cut.limit)
