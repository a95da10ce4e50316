"""Feedback on pictures as rows of the database; each function is work for `Database.run`."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass

from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.storage import arm_table

_COLUMNS = "image, tenant, key_id, end_user, rollout, arm, score, tags, comment, created"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one caller says of one picture, `created` unix seconds; `score` is 1 (worst) to 5.

    A caller is an end user as `user` names them, else whoever has the key. `arm` is what painted the picture, where a
    rollout did. The comment may be sealed.
    """

    image: str
    tenant: str
    key_id: str
    user: str
    score: int
    tags: tuple[str, ...]
    comment: str
    created: float
    arm: Arm | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """How often each score was given to an arm's pictures, and each tag."""

    scores: Counter[int]
    tags: Counter[str]


def put(connection: sqlite3.Connection, said: Feedback) -> Arm | None:
    """Store it in place of what the same caller said before; the arm that painted the picture."""
    arm = arm_table.arm_of(connection, said.image)
    rollout, target = (None, None) if arm is None else (arm.rollout, arm.target)
    values = (said.image, said.tenant, said.key_id, said.user, rollout, target, said.score, json.dumps(said.tags))
    marks = ", ".join("?" * (len(values) + 2))
    row = (*values, said.comment, said.created)
    connection.execute(f"INSERT OR REPLACE INTO feedback ({_COLUMNS}) VALUES ({marks})", row)  # noqa: S608
    return arm


def all_of(connection: sqlite3.Connection, tenant: str) -> list[Feedback]:
    """The tenant's feedback, the oldest first."""
    order = f"SELECT {_COLUMNS} FROM feedback WHERE tenant = ? ORDER BY created, image"  # noqa: S608
    return [_feedback(row) for row in connection.execute(order, (tenant,))]


def by_arm(connection: sqlite3.Connection, since: float) -> dict[Arm, Scores]:
    """The feedback since then, by arm."""
    found: dict[Arm, Scores] = {}
    asked = "SELECT rollout, arm, score, tags FROM feedback WHERE rollout IS NOT NULL AND created >= ?"
    for rollout, arm, score, tags in connection.execute(asked, (since,)):
        of_arm = found.setdefault(Arm(rollout, arm), Scores(Counter(), Counter()))
        of_arm.scores[score] += 1
        of_arm.tags.update(json.loads(tags))
    return found


def erase(connection: sqlite3.Connection, tenant: str) -> int:
    """Delete all of a tenant's; how many rows."""
    return connection.execute("DELETE FROM feedback WHERE tenant = ?", (tenant,)).rowcount


def forget_before(connection: sqlite3.Connection, unix_seconds: float) -> int:
    """Delete feedback from before then; how many rows."""
    return connection.execute("DELETE FROM feedback WHERE created < ?", (unix_seconds,)).rowcount


def _feedback(row: sqlite3.Row) -> Feedback:
    image, tenant, key_id, user, rollout, arm, score, tags, comment, created = row
    painted = None if rollout is None else Arm(rollout, arm)
    return Feedback(image, tenant, key_id, user, score, tuple(json.loads(tags)), comment, created, painted)
