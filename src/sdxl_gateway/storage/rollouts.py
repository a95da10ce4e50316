"""Takes what operators decide about rollouts' shares, remembers it, and tells what is in force: from memory, which is
never older than two seconds."""

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
"""Between two looks at what other processes changed: a terminal promotes, a server follows."""


class RolloutStore:
    """The changes in one database. `load` once before it is asked, then `following` keeps it up to date."""

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
        """Takes over what stands in the database now."""
        self._last = await self._database.run(rollout_table.in_force)

    def load_now(self) -> None:
        """As `load`, where there is no event loop."""
        self._last = self._database.submit(rollout_table.in_force).result()

    async def following(self) -> None:
        """Loads again and again, until it is cancelled."""
        while True:
            await self.load()
            await asyncio.sleep(LOOK_SECONDS)

    async def promote(self, rollout: str, shares: Shares, who: str) -> Change:
        """These shares hold from now on."""
        change = Change(rollout, "promoted", shares, self._clock(), who)
        await self._database.run(partial(rollout_table.add, change=change))
        await self.load()
        return change

    async def back(self, rollout: str, who: str) -> Change:
        """It is as before the last promotion. Raises WrongState where there was none."""
        change = await self._database.run(partial(rollout_table.back, rollout=rollout, at=self._clock(), who=who))
        await self.load()
        return change

    async def take(self, order: Order) -> Mapping[str, Any]:
        """What was decided at another gateway holds here too."""
        await self._database.run(partial(rollout_table.take, order=order))
        await self.load()
        return {}

    async def history(self, rollout: str) -> list[Change]:
        """All changes, the first one first."""
        return await self._database.run(partial(rollout_table.history, rollout=rollout))
