"""What a gateway shares with others, without the rest of the gateway."""

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
"""The pepper of every gateway that shares through the kit's redis-server."""
LOOKS = 2000


async def eventually(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it becomes true within a time that suffices on any machine."""
    for _ in range(LOOKS):
        if await holds():
            return True
        await asyncio.sleep(0.01)
    return False


@dataclass
class Sharer:
    """`told` are the events it reported."""

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
        """What is shared, with its state in `folder`, until the context is left; `sections` override the settings."""
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
    """The questions of a gateway that has reported its presence; it only answers while its `running` runs."""
    async with Sharer.opened(redis, folder) as sharer:
        mirror, orders = sharer.shared.questions, sharer.shared.orders
        assert mirror is not None
        assert orders is not None
        await orders.look()
        yield Questions(mirror, orders.members)
