"""Takes what callers say of their pictures and how rollouts' arms do, remembers both: what is said at once, what is
counted within a second."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sdxl_gateway.core.background import written_at_intervals
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.days import day_of
from sdxl_gateway.core.events import ArmEnded, Event
from sdxl_gateway.core.quantiles import bin_of
from sdxl_gateway.core.rollout import Arm
from sdxl_gateway.storage import arm_table, feedback_table
from sdxl_gateway.storage.arm_table import ArmKey, ArmPicture, Counted
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.feedback_table import Feedback, Scores
from sdxl_gateway.storage.seal import Seal


@dataclass(frozen=True, slots=True)
class Said:
    """A caller's feedback on a picture: a score from 1 to 5, tags, a comment, and the end user who gave it."""

    score: int
    tags: tuple[str, ...] = ()
    comment: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """The counts of rollouts' arms, and the feedback on their pictures."""

    counted: dict[ArmKey, Counted]
    said: dict[Arm, Scores]


class FeedbackStore:
    """Feedback in a database: a core TenantStore, and a Listener that counts the requests of rollouts' arms."""

    kind = "feedback"

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._seal = seal
        self._clock = clock
        self._counted: dict[ArmKey, Counted] = {}
        self._pictures: list[ArmPicture] = []

    def on_event(self, event: Event) -> None:
        """Count the requests of arms (a Listener)."""
        if isinstance(event, ArmEnded):
            now, slot = self._clock(), 0 if event.seconds is None else bin_of(event.seconds)
            key = ArmKey(day_of(now), event.arm, event.outcome, slot)
            self._counted[key] = self._counted.get(key, Counted()).and_(event.pictures)
            self._pictures += [ArmPicture(image, event.tenant, event.arm, now) for image in event.images]

    async def write(self) -> None:
        """Write the counts to the database. Raises StorageFull, and loses nothing."""
        counted, pictures = self._counted, self._pictures
        self._counted, self._pictures = {}, []
        if not (counted or pictures):
            return
        try:
            await self._database.run(partial(arm_table.add, counted=counted, pictures=pictures))
        except BaseException:
            for key, (requests, painted) in self._counted.items():
                before = counted.get(key, Counted())
                counted[key] = Counted(before.requests + requests, before.pictures + painted)
            self._counted, self._pictures = counted, pictures + self._pictures
            raise

    async def writing(self) -> None:
        """Write at intervals until this is cancelled, and then once more."""
        await written_at_intervals(self.write)

    async def put(self, image: str, caller: Caller, said: Said) -> Feedback:
        """Store it in place of what this caller said of the picture before. Raises StorageFull."""
        await self.write()
        sealed = self._seal.sealed(json.dumps(said.comment)) if said.comment else ""
        whole = (image, caller.tenant, caller.key_id, said.user, said.score, said.tags, sealed, self._clock())
        found = Feedback(*whole)
        arm = await self._database.run(partial(feedback_table.put, said=found))
        return replace(found, comment=said.comment, arm=arm)

    async def figures(self, since: float = 0.0) -> ArmFigures:
        """From the day of `since` (unix seconds) on."""
        await self.write()
        return await self._database.run(partial(figures, since=since))

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The feedback of the tenant's callers."""
        return [self._told(one) for one in await self._database.run(partial(feedback_table.all_of, tenant=tenant))]

    async def erase(self, tenant: str) -> int:
        """Delete the tenant's feedback, and which arm painted its pictures; how many things that were."""
        await self.write()
        return await self._database.run(partial(_erased, tenant=tenant))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete feedback and counts from before; how many things that were."""
        return await self._database.run(partial(_forgotten, unix_seconds=unix_seconds))

    def _told(self, one: Feedback) -> dict[str, Any]:
        return {
            "image": one.image,
            "key_id": one.key_id,
            "user": one.user,
            "score": one.score,
            "tags": list(one.tags),
            "comment": json.loads(self._seal.plain(one.comment)) if one.comment else "",
            "created": one.created,
            "rollout": None if one.arm is None else {"name": one.arm.rollout, "arm": one.arm.target},
        }


def figures(connection: sqlite3.Connection, since: float) -> ArmFigures:
    """As FeedbackStore.figures, of what is in the database: work for `Database.run`."""
    return ArmFigures(arm_table.since(connection, day_of(since)), feedback_table.by_arm(connection, since))


def _erased(connection: sqlite3.Connection, tenant: str) -> int:
    return feedback_table.erase(connection, tenant) + arm_table.erase(connection, tenant)


def _forgotten(connection: sqlite3.Connection, unix_seconds: float) -> int:
    said = feedback_table.forget_before(connection, unix_seconds)
    return said + arm_table.forget_before(connection, day_of(unix_seconds), unix_seconds)
