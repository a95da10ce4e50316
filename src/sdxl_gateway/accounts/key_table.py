"""Keys as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sdxl_gateway.accounts.keys import Key, KeyGrant
from sdxl_gateway.core.allowance import Allowance
from sdxl_gateway.core.caller import Role
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.safety import Policy

_COLUMNS = (
    "id, digest, prefix, name, tenant, roles, models, loras, priority, created, expires, revoked, successor, limits,"
    " safety, webhook_url, changed"
)

Change = Callable[[Key], KeyGrant]


def insert(connection: sqlite3.Connection, key: Key) -> None:
    """Store a new key."""
    values = {
        "id": key.id,
        "digest": key.digest,
        "prefix": key.prefix,
        "tenant": key.grant.tenant,
        "roles": json.dumps(sorted(key.grant.roles)),
        "created": key.created,
        "revoked": key.revoked,
        "successor": key.successor,
        "changed": key.changed,
        **_terms(key.grant),
    }
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(f"INSERT INTO keys ({', '.join(values)}) VALUES ({marks})", values)  # noqa: S608


def _terms(grant: KeyGrant) -> dict[str, Any]:
    """The columns that may change while a key lives."""
    return {
        "name": grant.name,
        "models": json.dumps(grant.models),
        "loras": json.dumps(grant.loras),
        "priority": grant.priority.word,
        "expires": grant.expires,
        "limits": json.dumps(grant.limits.said) if grant.limits.said else None,
        "safety": grant.safety,
        "webhook_url": grant.webhook_url,
    }


def all_keys(connection: sqlite3.Connection) -> list[Key]:
    """The oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created, id")  # noqa: S608
    return [_key(row) for row in rows]


def find(connection: sqlite3.Connection, key_id: str) -> Key | None:
    """The key of that id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM keys WHERE id = ?", (key_id,)).fetchone()  # noqa: S608
    return None if row is None else _key(row)


def succeed(connection: sqlite3.Connection, new: Key, old: Key) -> None:
    """Store `new`, and when `old`, its predecessor, ends."""
    insert(connection, new)
    connection.execute(
        "UPDATE keys SET expires = ?, successor = ?, changed = ? WHERE id = ?",
        (old.grant.expires, old.successor, old.changed, old.id),
    )


def adopt(connection: sqlite3.Connection, keys: Sequence[Key]) -> None:
    """Store keys of other gateways, in place of those of the same ids."""
    for key in keys:
        values = {"revoked": key.revoked, "changed": key.changed, **_terms(key.grant), "id": key.id}
        set_to = ", ".join(f"{name} = :{name}" for name in values)
        if not connection.execute(f"UPDATE keys SET {set_to} WHERE id = :id", values).rowcount:  # noqa: S608
            insert(connection, replace(key, successor=None))
    successors = [(key.successor, key.id) for key in keys if key.successor is not None]
    known = "successor IS NULL AND ?1 IN (SELECT id FROM keys)"
    connection.executemany(f"UPDATE keys SET successor = ?1 WHERE id = ?2 AND {known}", successors)  # noqa: S608


def change(connection: sqlite3.Connection, key_id: str, how: Change, now: float) -> Key | None:
    """Store the key with the grant that `how` gives; None when there is none of that id. Raises what `how` raises."""
    found = find(connection, key_id)
    if found is None:
        return None
    changed = replace(found, grant=how(found), changed=now)
    terms = {**_terms(changed.grant), "changed": now}
    set_to = ", ".join(f"{name} = :{name}" for name in terms)
    connection.execute(f"UPDATE keys SET {set_to} WHERE id = :id", {**terms, "id": key_id})  # noqa: S608
    return changed


def revoke(connection: sqlite3.Connection, key_id: str, now: float) -> Key | None:
    """Revoke the key; None when there is none of that id."""
    found = find(connection, key_id)
    if found is None or found.revoked is not None:
        return found
    connection.execute("UPDATE keys SET revoked = ?1, changed = ?1 WHERE id = ?2", (now, key_id))
    return replace(found, revoked=now, changed=now)


def _key(row: sqlite3.Row) -> Key:
    grant = KeyGrant(
        row["tenant"],
        row["name"],
        frozenset(map(Role, json.loads(row["roles"]))),
        tuple(json.loads(row["models"])),
        tuple(json.loads(row["loras"])),
        Priority.of(row["priority"]),
        row["expires"],
        Allowance(**json.loads(row["limits"] or "{}")),
        None if row["safety"] is None else Policy(row["safety"]),
        row["webhook_url"],
    )
    ends = row["revoked"], row["successor"]
    return Key(row["id"], row["digest"], row["prefix"], grant, row["created"], *ends, row["changed"])
