"""What was used, by day, tenant and key, as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class UsageKey(NamedTuple):
    """Whose usage, and of which day ("2027-01-31", UTC); `key_id` is empty for callers without a key of the store."""

    day: str
    tenant: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Used:
    """How much: requests let in, images and pixel-steps charged and not given back."""

    requests: int = 0
    images: int = 0
    pixel_steps: int = 0

    def __add__(self, other: Used) -> Used:
        """Both together."""
        return Used(self.requests + other.requests, self.images + other.images, self.pixel_steps + other.pixel_steps)

    def __neg__(self) -> Used:
        """To give back."""
        return Used(-self.requests, -self.images, -self.pixel_steps)


_COLUMNS = "day, tenant, key_id, requests, images, pixel_steps"
_ADD = f"""INSERT INTO usage ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, images = images + excluded.images,
    pixel_steps = pixel_steps + excluded.pixel_steps"""  # noqa: S608
_FILTERED = "(:tenant IS NULL OR tenant = :tenant) AND (:key_id IS NULL OR key_id = :key_id)"
_BEFORE = "(:day IS NULL OR (day, tenant, key_id) < (:day, :after_tenant, :after_key))"


def add(connection: sqlite3.Connection, used: Mapping[UsageKey, Used]) -> None:
    """To what there is."""
    rows = [(*key, one.requests, one.images, one.pixel_steps) for key, one in used.items()]
    connection.executemany(_ADD, rows)


def of_day(connection: sqlite3.Connection, day: str) -> dict[UsageKey, Used]:
    """All there is of a day."""
    return dict(_read(connection.execute(f"SELECT {_COLUMNS} FROM usage WHERE day = ?", (day,))))  # noqa: S608


def page(
    connection: sqlite3.Connection,
    limit: int,
    after: UsageKey | None = None,
    tenant: str | None = None,
    key_id: str | None = None,
) -> list[tuple[UsageKey, Used]]:
    """The newest day first, those behind `after`, of one tenant or key if that is asked."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM usage WHERE {_FILTERED} AND {_BEFORE}"  # noqa: S608
        " ORDER BY day DESC, tenant DESC, key_id DESC LIMIT :limit",
        {"tenant": tenant, "key_id": key_id, "limit": limit, **_place(after)},
    )
    return list(_read(found))


def of_tenant(connection: sqlite3.Connection, tenant: str) -> list[dict[str, Any]]:
    """Each row as a plain object, the oldest day first."""
    order = f"SELECT {_COLUMNS} FROM usage WHERE tenant = ? ORDER BY day, key_id"  # noqa: S608
    found = connection.execute(order, (tenant,))
    return [key._asdict() | asdict(used) for key, used in _read(found)]


def erase(connection: sqlite3.Connection, tenant: str) -> int:
    """All of a tenant; how many rows."""
    return connection.execute("DELETE FROM usage WHERE tenant = ?", (tenant,)).rowcount


def forget_before(connection: sqlite3.Connection, day: str) -> int:
    """All days before that one; how many rows."""
    return connection.execute("DELETE FROM usage WHERE day < ?", (day,)).rowcount


def _place(after: UsageKey | None) -> dict[str, str | None]:
    day, tenant, key_id = after or (None, None, None)
    return {"day": day, "after_tenant": tenant, "after_key": key_id}


def _read(rows: Iterable[sqlite3.Row]) -> Iterable[tuple[UsageKey, Used]]:
    for day, tenant, key_id, requests, images, pixel_steps in rows:
        yield UsageKey(day, tenant, key_id), Used(requests, images, pixel_steps)
