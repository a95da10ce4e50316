"""Changes of rollouts' shares as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Literal

from sdxl_gateway.core.errors import WrongState
from sdxl_gateway.core.order import ROLLOUT, Order
from sdxl_gateway.core.rollout import Shares
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage import order_table

_COLUMNS = "rollout, action, shares, at, who"
Action = Literal["promoted", "back"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a rollout, `at` unix seconds; `shares` hold from then on, None for those of the configuration."""

    rollout: str
    action: Action
    shares: Shares | None
    at: float
    who: str


def in_force(connection: sqlite3.Connection) -> dict[str, Change]:
    """The last change of each rollout."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM rollout_changes ORDER BY at, id")  # noqa: S608
    return {change.rollout: change for change in map(_change, found)}


def history(connection: sqlite3.Connection, rollout: str) -> list[Change]:
    """All changes, the first one first."""
    asked = f"SELECT {_COLUMNS} FROM rollout_changes WHERE rollout = ? ORDER BY at, id"  # noqa: S608
    return [_change(row) for row in connection.execute(asked, (rollout,))]


def add(connection: sqlite3.Connection, change: Change) -> Change:
    """Store a change, and an order that brings it to other gateways."""
    value = {"action": change.action, "shares": change.shares, "who": change.who}
    order_table.add(connection, [Order(secrets.token_hex(16), ROLLOUT, change.rollout, "", change.at, value)])
    return _insert(connection, change)


def take(connection: sqlite3.Connection, order: Order) -> None:
    """Store a change that was made at another gateway, in the order of their times."""
    change = Change(order.subject, at=order.at, **order.value)
    if change not in history(connection, change.rollout):
        _insert(connection, change)


def _insert(connection: sqlite3.Connection, change: Change) -> Change:
    shares = None if change.shares is None else json.dumps(dict(change.shares))
    row = (change.rollout, change.action, shares, change.at, change.who)
    connection.execute(f"INSERT INTO rollout_changes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608
    return change


def back(connection: sqlite3.Connection, rollout: str, at: float, who: str) -> Change:
    """Go back to before the last promotion that was not taken back. Raises WrongState when there is none."""
    standing: list[Shares | None] = [None]
    for change in history(connection, rollout):
        if change.action == "promoted":
            standing.append(change.shares)
        else:
            standing.pop()
    if len(standing) == 1:
        raise WrongState(f"The rollout {shown(rollout)} is as config.toml says: there is nothing to go back to.")
    return add(connection, Change(rollout, "back", standing[-2], at, who))


def _change(row: sqlite3.Row) -> Change:
    rollout, action, shares, at, who = row
    return Change(rollout, action, None if shares is None else json.loads(shares), at, who)
