"""Deliveries of webhooks as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import astuple, fields, replace
from typing import Any
from urllib.parse import urlsplit

from sdxl_gateway.core.order import WEBHOOK_SIGNING, Order
from sdxl_gateway.core.webhook import Delivery, DeliveryState, digest_of
from sdxl_gateway.storage import order_table

_NAMES = tuple(field.name for field in fields(Delivery))
_COLUMNS = ", ".join(_NAMES)
_SELECT = f"SELECT {_COLUMNS} FROM webhook_deliveries"  # noqa: S608


def enqueue_webhook(
    connection: sqlite3.Connection,
    *,
    tenant: str,
    url: str,
    event: str,
    subject: str,
    now: float,
    data: Mapping[str, Any] | None = None,
    trace: str | None = None,
) -> str:
    """Store a delivery of `event` about `subject` to `url`, in the transaction of what it tells of; its id.

    Each event of a subject is stored once. `data` is sent beside the subject's id: a few words and numbers, no
    pictures. `trace` is the `traceparent` of what it tells of.
    """
    digest = digest_of(subject, event)
    told = {"id": f"evt_{digest}", "object": "event", "type": event, "created_at": int(now)}
    body = json.dumps({**told, "data": {"id": subject, **(data or {})}}, separators=(",", ":"))
    state = DeliveryState.DISABLED if _is_disabled(connection, tenant, url) else DeliveryState.PENDING
    due = now if state is DeliveryState.PENDING else None
    about = tenant, url, _host(url), event, subject, body
    new = Delivery(f"msg_{digest}", *about, now, now, state, due=due, trace=trace)
    marks = ", ".join("?" * len(_NAMES))
    connection.execute(f"INSERT OR IGNORE INTO webhook_deliveries ({_COLUMNS}) VALUES ({marks})", astuple(new))  # noqa: S608
    return new.id


def claim(
    connection: sqlite3.Connection,
    now: float,
    leased_until: float,
    ids: Collection[str] = (),
    hosts: Collection[str] = (),
    tenants: Collection[str] = (),
) -> Delivery | None:
    """Claim the delivery that has been due for longest, except of these `ids`, `hosts` and `tenants`; None for none.

    It is leased to the sender until `leased_until`, so that another one takes it when that sender dies.
    """
    row = connection.execute(
        f"{_SELECT} WHERE due <= ? AND (leased IS NULL OR leased <= ?)"
        f" AND id NOT IN ({_marks(ids)}) AND host NOT IN ({_marks(hosts)})"
        f" AND tenant NOT IN ({_marks(tenants)}) ORDER BY due LIMIT 1",
        (now, now, *ids, *hosts, *tenants),
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE webhook_deliveries SET leased = ?, attempts = attempts + 1, attempted = ? WHERE id = ?",
        (leased_until, now, row["id"]),
    )
    return find(connection, row["tenant"], row["id"])


def settle(connection: sqlite3.Connection, delivery: Delivery) -> None:
    """Store how an attempt ended; no delivery to a receiver that is gone is tried again."""
    if delivery.state is DeliveryState.PENDING and _is_disabled(connection, delivery.tenant, delivery.url):
        delivery = replace(delivery, state=DeliveryState.DISABLED, due=None)
    values = delivery.state, delivery.due, delivery.status, delivery.problem, delivery.id, delivery.asked
    known = connection.execute(
        "UPDATE webhook_deliveries SET leased = NULL, state = ?, due = ?, status = ?, problem = ?"
        " WHERE id = ? AND asked = ?",
        values,
    ).rowcount
    if not known:  # it was asked for again meanwhile, or erased
        connection.execute("UPDATE webhook_deliveries SET leased = NULL WHERE id = ?", (delivery.id,))
    elif delivery.state is DeliveryState.DISABLED:
        _disable(connection, delivery)


def _disable(connection: sqlite3.Connection, delivery: Delivery) -> None:
    place = (delivery.tenant, delivery.url)
    connection.execute("INSERT OR IGNORE INTO webhook_disabled (tenant, url) VALUES (?, ?)", place)
    connection.execute(
        "UPDATE webhook_deliveries SET state = 'disabled', due = NULL"
        " WHERE tenant = ? AND url = ? AND state = 'pending'",
        place,
    )


def replay(connection: sqlite3.Connection, tenant: str, delivery_id: str, now: float) -> Delivery | None:
    """Have the delivery sent as if it were new; its receiver counts as reachable again. None when there is none."""
    found = find(connection, tenant, delivery_id)
    if found is None:
        return None
    connection.execute("DELETE FROM webhook_disabled WHERE tenant = ? AND url = ?", (tenant, found.url))
    connection.execute(
        "UPDATE webhook_deliveries SET state = 'pending', due = ?, asked = ?, attempts = 0 WHERE id = ?",
        (now, now, delivery_id),
    )
    return find(connection, tenant, delivery_id)


def withdraw(connection: sqlite3.Connection, subject: str) -> None:
    """Delete the pending deliveries about that subject."""
    connection.execute("DELETE FROM webhook_deliveries WHERE subject = ? AND state = 'pending'", (subject,))


def find(connection: sqlite3.Connection, tenant: str, delivery_id: str) -> Delivery | None:
    """The tenant's delivery of that id."""
    rows = connection.execute(f"{_SELECT} WHERE id = ? AND tenant = ?", (delivery_id, tenant))
    return next(_deliveries(rows), None)


def page(connection: sqlite3.Connection, tenant: str, limit: int, after: Delivery | None = None) -> list[Delivery]:
    """At most `limit` of the tenant's, the latest first, of those that come behind `after`."""
    place = (float("inf"), "") if after is None else (after.created, after.id)
    rows = connection.execute(
        f"{_SELECT} WHERE tenant = ? AND (created, id) < (?, ?) ORDER BY created DESC, id DESC LIMIT ?",
        (tenant, *place, limit),
    )
    return list(_deliveries(rows))


def erase(connection: sqlite3.Connection, tenant: str) -> int:
    """Delete all of the tenant's; how many that were. The number of its signing secret is kept."""
    connection.execute("DELETE FROM webhook_disabled WHERE tenant = ?", (tenant,))
    return connection.execute("DELETE FROM webhook_deliveries WHERE tenant = ?", (tenant,)).rowcount


def forget(connection: sqlite3.Connection, before: float, most: int) -> int:
    """Delete at most `most` of those that were finished by that time; how many that were."""
    chosen = (
        "SELECT id FROM webhook_deliveries WHERE state != 'pending' AND max(asked, coalesce(attempted, 0)) < ? LIMIT ?"
    )
    return connection.execute(f"DELETE FROM webhook_deliveries WHERE id IN ({chosen})", (before, most)).rowcount  # noqa: S608


def secret_numbers(connection: sqlite3.Connection, tenant: str, now: float) -> list[int]:
    """The numbers of the tenant's secrets that are valid now, the latest first."""
    row = connection.execute(
        "SELECT number, previous_until FROM webhook_secrets WHERE tenant = ?", (tenant,)
    ).fetchone()
    if row is None:
        return [1]
    return [row["number"], row["number"] - 1] if now < row["previous_until"] else [row["number"]]


def take_secret(connection: sqlite3.Connection, tenant: str, number: int, previous_until: float) -> None:
    """Make the secret of that number the tenant's, unless it has a later one; the previous one is valid until then."""
    connection.execute(
        "INSERT INTO webhook_secrets (tenant, number, previous_until) VALUES (?, ?, ?)"
        " ON CONFLICT (tenant) DO UPDATE SET number = excluded.number, previous_until = excluded.previous_until"
        " WHERE excluded.number > number",
        (tenant, number, previous_until),
    )


def next_secret(connection: sqlite3.Connection, tenant: str, now: float, previous_until: float) -> int:
    """Make a new secret the tenant's, at all gateways; its number. The previous one is valid until then."""
    number = secret_numbers(connection, tenant, now)[0] + 1
    take_secret(connection, tenant, number, previous_until)
    value = {"number": number, "previous_until": previous_until}
    order_table.add(connection, [Order(secrets.token_hex(16), WEBHOOK_SIGNING, tenant, "", now, value)])
    return number


def _host(url: str) -> str:
    """The host of a URL; one that cannot be parsed is a host of its own, so that no job's end fails by it."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def _is_disabled(connection: sqlite3.Connection, tenant: str, url: str) -> bool:
    row = connection.execute("SELECT 1 FROM webhook_disabled WHERE tenant = ? AND url = ?", (tenant, url)).fetchone()
    return row is not None


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def _deliveries(rows: sqlite3.Cursor) -> Iterator[Delivery]:
    for row in rows:
        values = {name: row[name] for name in _NAMES}
        yield Delivery(**values | {"state": DeliveryState(row["state"])})
