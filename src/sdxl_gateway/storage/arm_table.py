"""How the arms of rollouts did, and which pictures are theirs, as rows of the database; each function is work for
`Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sdxl_gateway.core.events import ArmOutcome
from sdxl_gateway.core.rollout import Arm


class ArmKey(NamedTuple):
    """Requests of one day ("2027-01-31", UTC) that an arm ended alike; `bin` is of their seconds, see
    core/quantiles.py."""

    day: str
    arm: Arm
    outcome: ArmOutcome
    bin: int = 0


class Counted(NamedTuple):
    """Numbers of requests, and of the pictures painted for them."""

    requests: int = 0
    pictures: int = 0

    def and_(self, pictures: int) -> Counted:
        """With one request more."""
        return Counted(self.requests + 1, self.pictures + pictures)


class ArmPicture(NamedTuple):
    """A kept picture, whose it is, and the arm that painted it; `created` is unix seconds."""

    image: str
    tenant: str
    arm: Arm
    created: float


_COLUMNS = "day, rollout, arm, outcome, bin, requests, pictures"
_ADD = f"""INSERT INTO arm_days ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, pictures = pictures + excluded.pictures"""  # noqa: S608


def add(connection: sqlite3.Connection, counted: Mapping[ArmKey, Counted], pictures: Iterable[ArmPicture]) -> None:
    """Add these counts to those that are stored."""
    rows = [(key.day, key.arm.rollout, key.arm.target, key.outcome, key.bin, *one) for key, one in counted.items()]
    connection.executemany(_ADD, rows)
    images = [(one.image, one.tenant, one.arm.rollout, one.arm.target, one.created) for one in pictures]
    connection.executemany("INSERT OR IGNORE INTO arm_images VALUES (?, ?, ?, ?, ?)", images)


def since(connection: sqlite3.Connection, day: str) -> dict[ArmKey, Counted]:
    """The counts of that day and later."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM arm_days WHERE day >= ?", (day,))  # noqa: S608
    return {
        ArmKey(day, Arm(rollout, arm), outcome, bin_): Counted(requests, pictures)
        for day, rollout, arm, outcome, bin_, requests, pictures in found
    }


def arm_of(connection: sqlite3.Connection, image: str) -> Arm | None:
    """The arm that painted a picture; None where none did."""
    row = connection.execute("SELECT rollout, arm FROM arm_images WHERE image = ?", (image,)).fetchone()
    return None if row is None else Arm(*row)


def forget_before(connection: sqlite3.Connection, day: str, unix_seconds: float) -> int:
    """Delete earlier days, and pictures from before that time; how many rows."""
    days = connection.execute("DELETE FROM arm_days WHERE day < ?", (day,)).rowcount
    return days + connection.execute("DELETE FROM arm_images WHERE created < ?", (unix_seconds,)).rowcount


def erase(connection: sqlite3.Connection, tenant: str) -> int:
    """Delete a tenant's pictures; how many rows. The counts belong to no tenant."""
    return connection.execute("DELETE FROM arm_images WHERE tenant = ?", (tenant,)).rowcount
