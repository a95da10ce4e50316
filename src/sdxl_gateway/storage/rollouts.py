"""Stores operators' changes of rollouts' shares, and tells which are in force, from memory that is at most two seconds
old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sdxl_gateway.core.order import Order
from sdxl_gateway.core.rollout import Shares
from sdxl_gateway.storage import rollout_table
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.rollout_table import Change

LOOK_SECONDS = 2.0
"""How often changes by other processes, such as the CLI, are looked for."""


class RolloutStore:
    """Changes in the database. `load` has to be called first; `following` keeps it up to date."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._last: Mapping[str, Change] = {}

    def shares(self, rollout: str) -> Shares | None:
        """Those that were set; None where the configuration's hold."""
        found = self._last.get(rollout)
        return None if found is None else found.shares

    def last(self, rollout: str) -> Change | None:
        """The change that holds, if there was one."""
        return self._last.get(rollout)

    async def load(self) -> None:
        """Read the database."""
        self._last = await self._database.run(rollout_table.in_force)

    def load_now(self) -> None:
        """As `load`, for callers without an event loop."""
        self._last = self._database.submit(rollout_table.in_force).result()

    async def following(self) -> None:
        """Load at intervals, until this is cancelled."""
        while True:
            await self.load()
            await asyncio.sleep(LOOK_SECONDS)

    async def promote(self, rollout: str, shares: Shares, who: str) -> Change:
        """Put these shares in force."""
        change = Change(rollout, "promoted", shares, self._clock(), who)
        await self._database.run(partial(rollout_table.add, change=change))
        await self.load()
        return change

    async def back(self, rollout: str, who: str) -> Change:
        """Go back to before the last promotion. Raises WrongState when there is none."""
        change = await self._database.run(partial(rollout_table.back, rollout=rollout, at=self._clock(), who=who))
        await self.load()
        return change

    async def take(self, order: Order) -> Mapping[str, Any]:
        """Put a change of another gateway in force here."""
        await self._database.run(partial(rollout_table.take, order=order))
        await self.load()
        return {}

    async def history(self, rollout: str) -> list[Change]:
        """All changes, the first one first."""
        return await self._database.run(partial(rollout_table.history, rollout=rollout))
