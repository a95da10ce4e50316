"""A Usage that adds up what callers used at every gateway."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import astuple
from typing import Any

from sdxl_gateway.accounts.usage import Usage, UsagePage
from sdxl_gateway.accounts.usage_table import UsageKey, Used
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.storage.database import Database

USED = "usage"


class FleetUsage(Usage):
    """The Usage of a gateway that shares; each counts the requests that it answered itself."""

    def __init__(self, database: Database, questions: Questions) -> None:
        super().__init__(database)
        self._questions = questions
        questions.follow(USED, self._own)

    async def page_everywhere(
        self, limit: int, after: UsageKey | None = None, tenant: str | None = None, key_id: str | None = None
    ) -> UsagePage:
        """As Usage, of all gateways: each is asked for its own page, and the first rows of all are given."""
        sums = defaultdict[UsageKey, Used](Used, await self.page(limit, after, tenant, key_id))
        asked = {"limit": limit, "after": after, "tenant": tenant, "key_id": key_id}
        heard = await self._questions.gathered(USED, asked)
        for key, used in heard.items:
            sums[UsageKey(*key)] += Used(*used)
        return UsagePage(sorted(sums.items(), key=lambda row: row[0], reverse=True)[:limit], heard.missing)

    async def _own(self, value: Mapping[str, Any]) -> AsyncIterator[Any]:
        after = None if value["after"] is None else UsageKey(*value["after"])
        for key, used in await self.page(value["limit"], after, value["tenant"], value["key_id"]):
            yield key, astuple(used)
