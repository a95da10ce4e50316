"""The audit log as a store of tenants' data, which is exported, expires, and is never erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

from sdxl_gateway.telemetry.audit.chain import Chain
from sdxl_gateway.telemetry.audit.export import Wanted, lines_of

AT_ONCE = 1000
REASON = (
    "The audit log holds who did what and when, and no prompts, inputs or pictures. A line cannot be taken out without"
    " breaking the chain; its files go after retention.audit_days."
)


class AuditLines:
    """A TenantStore of which nothing is exported or erased; `exported` is for a Lasting."""

    kind = "audit"

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def exported(self, tenant: str) -> AsyncIterator[dict[str, Any]]:
        """The lines about what was done to or by the tenant, the oldest first."""
        lines = lines_of(self._chain, Wanted(tenant))
        while some := await asyncio.to_thread(lambda: list(islice(lines, AT_ONCE))):
            for line in some:
                yield line

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """Nothing: see `exported`."""
        return []

    async def erase(self, tenant: str) -> int:
        """Nothing."""
        return 0

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete whole files of older lines; how many lines that were."""
        return await asyncio.to_thread(self._chain.forget_before, unix_seconds)
