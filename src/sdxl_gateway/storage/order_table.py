"""Orders to all gateways as rows of the database of each; every function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sdxl_gateway.core.order import STANDING, Order

_COLUMNS = "id, kind, subject, given_by, at, value"


def joined(connection: sqlite3.Connection, now: float) -> float:
    """Since when this gateway is one of several; from now on where it is not yet."""
    connection.execute("INSERT INTO fleet (joined) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM fleet)", (now,))
    return float(connection.execute("SELECT joined FROM fleet").fetchone()["joined"])


def add(connection: sqlite3.Connection, orders: Iterable[Order]) -> None:
    """Remember those that are not known yet; none of them is done."""
    rows = [(one.id, one.kind, one.subject, one.by, one.at, json.dumps(one.value)) for one in orders]
    connection.executemany(f"INSERT OR IGNORE INTO orders ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608


def known(connection: sqlite3.Connection) -> dict[str, Order]:
    """All there are, by their ids, the oldest first."""
    return _orders(connection, "SELECT * FROM orders ORDER BY at, id")


def undone(connection: sqlite3.Connection) -> dict[str, Order]:
    """Those that are still to be done here."""
    return _orders(connection, "SELECT * FROM orders WHERE outcome IS NULL ORDER BY at, id")


def outcome(connection: sqlite3.Connection, order_id: str) -> Mapping[str, Any] | None:
    """What came of an order here; None where it is still to be done."""
    row = connection.execute("SELECT outcome FROM orders WHERE id = ?", (order_id,)).fetchone()
    return None if row is None or row["outcome"] is None else json.loads(row["outcome"])


def settle(connection: sqlite3.Connection, order_id: str, what: Mapping[str, Any]) -> None:
    """It is done here, and that is to be told."""
    connection.execute("UPDATE orders SET outcome = ?, told = 0 WHERE id = ?", (json.dumps(what), order_id))


def untold(connection: sqlite3.Connection) -> dict[str, Mapping[str, Any]]:
    """What came of those that are done here, of which the others have not heard."""
    rows = connection.execute("SELECT id, outcome FROM orders WHERE outcome IS NOT NULL AND told = 0")
    return {row["id"]: json.loads(row["outcome"]) for row in rows}


def note_told(connection: sqlite3.Connection, order_ids: Iterable[str], *, told: bool) -> None:
    """The others have heard of these, or not any more."""
    connection.executemany("UPDATE orders SET told = ? WHERE id = ?", [(int(told), one) for one in order_ids])


def forget(connection: sqlite3.Connection, before: float) -> None:
    """Nobody is told any more of what is older and does not stand for good."""
    marks = ", ".join("?" * len(STANDING))
    connection.execute(f"DELETE FROM orders WHERE at < ? AND kind NOT IN ({marks})", (before, *STANDING))  # noqa: S608


def _orders(connection: sqlite3.Connection, query: str) -> dict[str, Order]:
    return {
        row["id"]: Order(row["id"], row["kind"], row["subject"], row["given_by"], row["at"], json.loads(row["value"]))
        for row in connection.execute(query)
    }
