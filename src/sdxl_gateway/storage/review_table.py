"""Reviews of pictures as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from sdxl_gateway.storage.pages import Cut, page


class ReviewState(StrEnum):
    """The state of a review; the owner of a rejected picture may appeal once, and it is reviewed again."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPEALED = "appealed"


UNDECIDED = (ReviewState.OPEN, ReviewState.APPEALED)


@dataclass(frozen=True, slots=True)
class Review:
    """A picture that was handed out although something was found in it or its prompt; times are unix seconds.

    `blob` has its bytes, `image` is its id in the tenant's store of pictures, if it is there. Texts may be encrypted.
    """

    id: str
    tenant: str
    key_id: str
    job: str
    created: float
    categories: tuple[str, ...]
    prompt: str
    ext: str
    blob: str
    image: str | None = None
    state: ReviewState = ReviewState.OPEN
    decided: float | None = None
    note: str = ""
    appeal: str = ""
    appealed: float | None = None


_NAMES = tuple(field.name for field in fields(Review))
_COLUMNS = ", ".join(_NAMES)
_MARKS = ", ".join(f":{name}" for name in _NAMES)


def insert(connection: sqlite3.Connection, review: Review, most: int) -> list[str]:
    """Store a review. Above `most` the oldest are deleted, decided ones first; their blobs."""
    values = asdict(review) | {"categories": json.dumps(review.categories)}
    connection.execute(f"INSERT INTO reviews ({_COLUMNS}) VALUES ({_MARKS})", values)  # noqa: S608
    over = connection.execute("SELECT count(*) FROM reviews").fetchone()[0] - most
    oldest = "SELECT id FROM reviews ORDER BY state IN ('open', 'appealed'), created LIMIT ?"
    return _removed(connection, f"id IN ({oldest})", max(0, over))


def find(connection: sqlite3.Connection, review_id: str, tenant: str | None) -> Review | None:
    """The review of that id, of that tenant if one is given."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM reviews WHERE id = ? AND tenant = coalesce(?, tenant)",  # noqa: S608
        (review_id, tenant),
    ).fetchone()
    return None if row is None else _review(row)


def one_page(
    connection: sqlite3.Connection, tenant: str | None, state: str | None, cut: Cut
) -> tuple[list[Review], bool] | None:
    """A page of a tenant's or of all, in one state or in any; None where there is none of the id it comes after."""
    where = "tenant = coalesce(?, tenant) AND state = coalesce(?, state)"
    found = page(connection, "reviews", _COLUMNS, where, [tenant, state], cut)
    return None if found is None else ([_review(row) for row in found.rows], found.more)


def decide(connection: sqlite3.Connection, review_id: str, state: ReviewState, note: str, now: float) -> bool:
    """Decide it, if it is undecided; whether it was."""
    changed = connection.execute(
        "UPDATE reviews SET state = ?, note = ?, decided = ? WHERE id = ? AND state IN ('open', 'appealed')",
        (state, note, now, review_id),
    )
    return changed.rowcount == 1


def appeal(connection: sqlite3.Connection, review_id: str, tenant: str, text: str, now: float) -> bool:
    """Reopen it, if it was rejected and not appealed before; whether it was."""
    changed = connection.execute(
        "UPDATE reviews SET state = 'appealed', appeal = ?, appealed = ?"
        " WHERE id = ? AND tenant = ? AND state = 'rejected' AND appealed IS NULL",
        (text, now, review_id, tenant),
    )
    return changed.rowcount == 1


def all_of(connection: sqlite3.Connection, tenant: str) -> list[Review]:
    """Every review of a tenant's pictures, the oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM reviews WHERE tenant = ? ORDER BY created, id",  # noqa: S608
        (tenant,),
    )
    return [_review(row) for row in rows]


def remove_of(connection: sqlite3.Connection, tenant: str) -> list[str]:
    """Delete a tenant's; their blobs."""
    return _removed(connection, "tenant = ?", tenant)


def remove_older(connection: sqlite3.Connection, than: float) -> list[str]:
    """Delete reviews that were created before that time; their blobs."""
    return _removed(connection, "created < ?", than)


def all_blobs(connection: sqlite3.Connection) -> set[str]:
    """Every blob that a review refers to."""
    return {row["blob"] for row in connection.execute("SELECT blob FROM reviews")}


def _removed(connection: sqlite3.Connection, where: str, value: float | str) -> list[str]:
    rows = connection.execute(f"DELETE FROM reviews WHERE {where} RETURNING blob", (value,))  # noqa: S608
    return [row["blob"] for row in rows.fetchall()]


def _review(row: sqlite3.Row) -> Review:
    given = dict(row)
    return Review(
        **(given | {"categories": tuple(json.loads(given["categories"])), "state": ReviewState(given["state"])})
    )
