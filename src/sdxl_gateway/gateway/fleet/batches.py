"""Reports this gateway's batches to the others, takes over those of gateways that are gone, and lets go of those that
others took over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.errors import NotFound, StorageFull, Unavailable
from sdxl_gateway.shared.batch_mirror import BatchMirror, Loose
from sdxl_gateway.shared.order_mirror import Owing, nobody
from sdxl_gateway.shared.outcome import Outcome
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.files import FileStore

log = logging.getLogger(__name__)

SHARE_SECONDS = 1.0
TELL_SECONDS = 1.0
"""The caller of an accepted batch waits no longer for other gateways to have heard of it."""
AGAIN_SECONDS = 3600.0
"""A finished batch is reported again after this time, before its record expires."""
TOLD_AT_ONCE = 64
TAKEN_AT_ONCE = 2
"""At most so many in each turn, so that other gateways take some too."""


class BatchHands(Protocol):
    """What BatchFleet asks of whoever runs the batches."""

    async def end(self, batch_id: str) -> None:
        """Cancel it. Raises NotFound."""

    async def let_go(self, batch: Batch) -> None:
        """Another gateway owns it now: stop it, and delete what is here of it."""

    def wake(self) -> None:
        """There are new ones to run."""


class BatchFleet:
    """Each turn brings mirror and database in line, by the database: the mirror forgets batches that are gone from it
    and hears of those it lacks; batches that the mirror says are this gateway's are taken into it.

    `may_take` tells whether gateways that are silent can be taken for gone by now; `owing` which tenants a gateway has
    still to erase: nothing of theirs is taken over from it.
    """

    def __init__(
        self,
        store: BatchStore,
        files: FileStore,
        mirror: BatchMirror,
        hands: BatchHands,
        may_take: Callable[[], bool],
        owing: Owing = nobody,
    ) -> None:
        self._store = store
        self._files = files
        self._mirror = mirror
        self._hands = hands
        self._may_take = may_take
        self._owing = owing
        self._turn = asyncio.Lock()

    @property
    def still(self) -> AbstractAsyncContextManager[None]:
        """As JobFleet.still."""
        return self._turn

    async def running(self) -> None:
        """Turn after turn, until this is cancelled; a last report then lets the others take over."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(SHARE_SECONDS)
        finally:
            with suppress(Unavailable):
                async with self._turn:
                    await self._share()

    async def turn(self) -> None:
        """Report, take over and let go, once; what cannot be done now is done in a later turn."""
        with suppress(Unavailable, StorageFull):
            async with self._turn:
                await self._share()
                await self._take_over()

    async def tell_now(self, batch: Batch) -> None:
        """Report a batch that was just accepted, if the mirror can be reached and it is still there."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(TELL_SECONDS), self._turn:
                await self._tell(await self._store.named([batch.id]))

    async def _share(self) -> None:
        """Files are reported before batches: whoever hears that a batch is over asks for its files."""
        unfinished, due = await self._store.unfinished(), await self._due()
        await self._files.share()
        await self._tell(unfinished)
        for at in range(0, len(due), TOLD_AT_ONCE):
            await self._tell(await self._store.named(due[at : at + TOLD_AT_ONCE]))

    async def _due(self) -> Sequence[str]:
        """The finished batches that are to be reported, for the first time or again."""
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
        if not await self._can_go_on(loose) or not await self._mirror.take(loose):
            return False
        log.warning("batch %s of gateway %s, which is gone, is this one's now", loose.id, loose.gateway)
        await self._adopt(loose.id)
        return True

    async def _can_go_on(self, loose: Loose) -> bool:
        """Whether its requests are within reach, and its tenant is not to be erased."""
        batch = await self._mirror.find(loose.id)
        if batch is None or batch.tenant in await self._owing(loose.gateway):
            return False
        there = await self._mirror.has_lines(loose.id)
        return there or await self._files.within_reach(batch.input_file, batch.tenant)

    async def _adopt(self, batch_id: str) -> None:
        """Take a batch into the database that the mirror says is this gateway's: just taken over, or before a crash."""
        batch = await self._mirror.find(batch_id)
        if batch is None or batch.state.over:
            return
        await self._store.adopt(batch, await self._mirror.lines_of(batch_id))
        self._hands.wake()
        await self._tell([await self._store.find(batch_id)])
