"""Has other gateways hear how this one's batches stand, and does what they ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.errors import NotFound, Unavailable
from sdxl_gateway.shared.batch_mirror import BatchMirror
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.files import FileStore

SHARE_SECONDS = 1.0
AGAIN_SECONDS = 3600.0
"""A batch that is over is told again so often, before what was told ends by itself."""
TOLD_AT_ONCE = 64


class BatchFleet:
    """This gateway's part in it. The database is the journal: what the mirror was told and is not there is forgotten,
    what is there and was not told is told, in each turn."""

    def __init__(
        self, store: BatchStore, files: FileStore, mirror: BatchMirror, cancel: Callable[[str], Awaitable[object]]
    ) -> None:
        self._store = store
        self._files = files
        self._mirror = mirror
        self._cancel = cancel

    async def running(self) -> None:
        """Until it is cancelled; then the others know how everything stands."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(SHARE_SECONDS)
        finally:
            await self.turn()

    async def turn(self) -> None:
        """What others ask is done, and they know how everything stands; what cannot be done now is in a later turn."""
        with suppress(Unavailable):
            await self._look()

    async def tell_now(self, batch: Batch) -> None:
        """One that was accepted, where it can be told."""
        with suppress(Unavailable):
            await self._mirror.tell([batch])

    async def _look(self) -> None:
        """Files are told before batches: whoever hears that one is over asks for them."""
        for batch_id in await self._mirror.to_cancel():
            with suppress(NotFound):
                await self._cancel(batch_id)
            await self._mirror.is_cancelled(batch_id)
        unfinished, due = await self._store.unfinished(), await self._due()
        await self._files.share()
        await self._mirror.tell(unfinished)
        for at in range(0, len(due), TOLD_AT_ONCE):
            await self._mirror.tell(await self._store.named(due[at : at + TOLD_AT_ONCE]))

    async def _due(self) -> Sequence[str]:
        """Those that are over and were not told so of late."""
        told, over = await self._mirror.told_over(), await self._store.over()
        await self._mirror.forget(told.keys() - set(over))
        too_old = self._store.clock() - AGAIN_SECONDS
        return [batch_id for batch_id in over if told.get(batch_id, 0.0) <= too_old]
