"""What one gateway shares with others, without the gateway around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.config import Settings
from sdxl_gateway.core.events import Event
from sdxl_gateway.core.ports import Meters
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.shared.open import Shared, open_shared
from sdxl_gateway.storage.seal import Seal
from tests.kit.redis_server import RedisServer

PEPPER = b"p" * 32
"""That of every gateway that shares by the kit's redis-server."""
LOOKS = 2000


async def eventually(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does within a time that is long for any machine."""
    for _ in range(LOOKS):
        if await holds():
            return True
        await asyncio.sleep(0.01)
    return False


@dataclass
class Sharer:
    """`told` is what it announced."""

    shared: Shared
    local: LocalMeters
    told: list[Event] = field(default_factory=list)

    @property
    def meters(self) -> Meters:
        return self.shared.meters

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, redis: RedisServer, folder: Path, seal: Seal | None = None, /, **sections: Any
    ) -> AsyncIterator[Sharer]:
        """In `folder`, until the context is left; `sections` stand for those that the server gives."""
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        settings = Settings(data_directory=folder, **redis.sections | sections)
        told: list[Event] = []
        local = LocalMeters()
        sharer = cls(open_shared(settings, folder, local, seal or Seal(), told.append), local, told)
        try:
            yield sharer
        finally:
            await sharer.shared.close()


@asynccontextmanager
async def questions_in(redis: RedisServer, folder: Path) -> AsyncIterator[Questions]:
    """Of a gateway that has said that it is there; it answers while somebody has `running` go on."""
    async with Sharer.opened(redis, folder) as sharer:
        mirror, orders = sharer.shared.questions, sharer.shared.orders
        assert mirror is not None
        assert orders is not None
        await orders.look()
        yield Questions(mirror, orders.members)
