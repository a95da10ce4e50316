"""Orders to all gateways as rows of the database of each; every function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sdxl_gateway.core.order import STANDING, Order

_COLUMNS = "id, kind, subject, given_by, at, value"


def joined(connection: sqlite3.Connection, now: float) -> float:
    """Since when this gateway belongs to a fleet; from now on, if it did not yet."""
    connection.execute("INSERT INTO fleet (joined) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM fleet)", (now,))
    return float(connection.execute("SELECT joined FROM fleet").fetchone()["joined"])


def add(connection: sqlite3.Connection, orders: Iterable[Order]) -> None:
    """Store those that are new; none of them is carried out yet."""
    rows = [(one.id, one.kind, one.subject, one.by, one.at, json.dumps(one.value)) for one in orders]
    connection.executemany(f"INSERT OR IGNORE INTO orders ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608


def known(connection: sqlite3.Connection) -> dict[str, Order]:
    """All orders by id, the oldest first."""
    return _orders(connection, "SELECT * FROM orders ORDER BY at, id")


def undone(connection: sqlite3.Connection) -> dict[str, Order]:
    """The orders that are still to be carried out here."""
    return _orders(connection, "SELECT * FROM orders WHERE outcome IS NULL ORDER BY at, id")


def outcome(connection: sqlite3.Connection, order_id: str) -> Mapping[str, Any] | None:
    """The outcome of an order here; None while it is still to be carried out."""
    row = connection.execute("SELECT outcome FROM orders WHERE id = ?", (order_id,)).fetchone()
    return None if row is None or row["outcome"] is None else json.loads(row["outcome"])


def settle(connection: sqlite3.Connection, order_id: str, what: Mapping[str, Any]) -> None:
    """Store the outcome of an order, as one that is to be reported."""
    connection.execute("UPDATE orders SET outcome = ?, told = 0 WHERE id = ?", (json.dumps(what), order_id))


def untold(connection: sqlite3.Connection) -> dict[str, Mapping[str, Any]]:
    """The outcomes here that were not reported to the others, by the orders' ids."""
    rows = connection.execute("SELECT id, outcome FROM orders WHERE outcome IS NOT NULL AND told = 0")
    return {row["id"]: json.loads(row["outcome"]) for row in rows}


def note_told(connection: sqlite3.Connection, order_ids: Iterable[str], *, told: bool) -> None:
    """Mark the outcomes of these orders as reported, or as not reported any more."""
    connection.executemany("UPDATE orders SET told = ? WHERE id = ?", [(int(told), one) for one in order_ids])


def forget(connection: sqlite3.Connection, before: float) -> None:
    """Delete orders that are older, except those that hold for good."""
    marks = ", ".join("?" * len(STANDING))
    connection.execute(f"DELETE FROM orders WHERE at < ? AND kind NOT IN ({marks})", (before, *STANDING))  # noqa: S608


def _orders(connection: sqlite3.Connection, query: str) -> dict[str, Order]:
    return {
        row["id"]: Order(row["id"], row["kind"], row["subject"], row["given_by"], row["at"], json.loads(row["value"]))
        for row in connection.execute(query)
    }
