"""Has other gateways hear of this one's batches, takes over those of one that is gone, and lets go of what others
took."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.errors import NotFound, StorageFull, Unavailable
from sdxl_gateway.shared.batch_mirror import BatchMirror, Loose
from sdxl_gateway.shared.mirror import Outcome
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.files import FileStore

log = logging.getLogger(__name__)

SHARE_SECONDS = 1.0
AGAIN_SECONDS = 3600.0
"""A batch that is over is told again so often, before what was told ends by itself."""
TOLD_AT_ONCE = 64
TAKEN_AT_ONCE = 2
"""Then others have a turn."""


class BatchHands(Protocol):
    """What is done here to batches that run."""

    async def end(self, batch_id: str) -> None:
        """It is cancelled. Raises NotFound."""

    async def let_go(self, batch: Batch) -> None:
        """It is another gateway's; nothing of it stays."""

    def wake(self) -> None:
        """There are new ones."""


class BatchFleet:
    """This gateway's part in it. The database is the journal: what the mirror was told and is not there is forgotten,
    what is there and was not told is told, in each turn; what the mirror gave this gateway is looked for there.

    `may_take` says whether who says nothing is gone by now.
    """

    def __init__(
        self,
        store: BatchStore,
        files: FileStore,
        mirror: BatchMirror,
        hands: BatchHands,
        may_take: Callable[[], bool],
    ) -> None:
        self._store = store
        self._files = files
        self._mirror = mirror
        self._hands = hands
        self._may_take = may_take

    async def running(self) -> None:
        """Until it is cancelled; then the others know how everything stands, and may take it over."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(SHARE_SECONDS)
        finally:
            with suppress(Unavailable):
                await self._share()

    async def turn(self) -> None:
        """One look at all batches, and all that follows from it; what cannot be done now is done in a later turn."""
        with suppress(Unavailable, StorageFull):
            await self._share()
            await self._take_over()

    async def tell_now(self, batch: Batch) -> None:
        """One that was accepted, where it can be told."""
        with suppress(Unavailable):
            await self._tell([batch])

    async def _share(self) -> None:
        """Files are told before batches: whoever hears that one is over asks for them."""
        unfinished, due = await self._store.unfinished(), await self._due()
        await self._files.share()
        await self._tell(unfinished)
        for at in range(0, len(due), TOLD_AT_ONCE):
            await self._tell(await self._store.named(due[at : at + TOLD_AT_ONCE]))

    async def _due(self) -> Sequence[str]:
        """Those that are over and were not told so of late."""
        told, over = await self._mirror.told_over(), await self._store.over()
        await self._mirror.forget(told.keys() - set(over))
        too_old = self._store.clock() - AGAIN_SECONDS
        return [batch_id for batch_id in over if told.get(batch_id, 0.0) <= too_old]

    async def _tell(self, batches: Sequence[Batch]) -> None:
        for batch, outcome in zip(batches, await self._mirror.tell(batches), strict=True):
            await self._settle(batch, outcome)

    async def _settle(self, batch: Batch, outcome: Outcome) -> None:
        match outcome:
            case Outcome.TAKEN if await self._mirror.has_moved(batch):
                log.warning("batch %s was taken over by another gateway", batch.id)
                await self._hands.let_go(batch)
            case Outcome.CANCELLED:
                with suppress(NotFound):
                    await self._hands.end(batch.id)
            case Outcome.LACKING:
                lines = await self._store.lines_of(batch, self._mirror.max_lines_bytes)
                await self._mirror.keep_lines(batch.id, lines)

    async def _take_over(self) -> None:
        sight = await self._mirror.look()
        for batch_id in await self._store.unknown_of(sight.owned):
            await self._adopt(batch_id)
        taken = 0
        for loose in sight.loose if self._may_take() else ():
            if taken < TAKEN_AT_ONCE and await self._taken(loose):
                taken += 1

    async def _taken(self, loose: Loose) -> bool:
        if not await self._can_go_on(loose.id) or not await self._mirror.take(loose):
            return False
        log.warning("batch %s of gateway %s, which is gone, is this one's now", loose.id, loose.gateway)
        await self._adopt(loose.id)
        return True

    async def _can_go_on(self, batch_id: str) -> bool:
        """Its requests are within reach."""
        if await self._mirror.has_lines(batch_id):
            return True
        batch = await self._mirror.find(batch_id)
        return batch is not None and await self._files.within_reach(batch.input_file, batch.tenant)

    async def _adopt(self, batch_id: str) -> None:
        """What is this gateway's and not in its database: taken over just now, or before it was cut off."""
        batch = await self._mirror.find(batch_id)
        if batch is None or batch.state.over:
            return
        await self._store.adopt(batch, await self._mirror.lines_of(batch_id))
        self._hands.wake()
        await self._tell([await self._store.find(batch_id)])
