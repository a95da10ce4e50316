"""Remembers what callers use as Usage does, and adds up what they used at every gateway."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import astuple
from typing import Any

from sdxl_gateway.accounts.usage import Usage, UsagePage
from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.order import Member
from sdxl_gateway.gateway.fleet_questions import Questions
from sdxl_gateway.storage.database import Database

USED = "usage"


class FleetUsage(Usage):
    """The Usage of a gateway that shares: each remembers what it let in itself."""

    def __init__(self, database: Database, questions: Questions) -> None:
        super().__init__(database)
        self._questions = questions
        questions.follow(USED, self._own)

    async def page_everywhere(
        self, limit: int, after: UsageKey | None = None, tenant: str | None = None, key_id: str | None = None
    ) -> UsagePage:
        """As Usage. Each gateway's first rows hold those that are among the first of all."""
        sums = defaultdict[UsageKey, Used](Used, await self.page(limit, after, tenant, key_id))
        missing = list[Member | None]()
        try:
            asked = {"limit": limit, "after": after, "tenant": tenant, "key_id": key_id}
            async for member, part in self._questions.others(USED, asked):
                if part is None:
                    missing.append(member)
                for key, used in part or ():
                    sums[UsageKey(*key)] += Used(*used)
        except Unavailable:
            missing.append(None)
        return UsagePage(sorted(sums.items(), key=lambda row: row[0], reverse=True)[:limit], missing)

    async def _own(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        after = None if value["after"] is None else UsageKey(*value["after"])
        for key, used in await self.page(value["limit"], after, value["tenant"], value["key_id"]):
            yield key, astuple(used)
