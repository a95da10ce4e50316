"""Takes files of requests, runs each as a batch beside the others, tells how they stand until long after their end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

from sdxl_gateway.config import Batches as Limits
from sdxl_gateway.core.batch import Batch, BatchState, NewBatch, new_batch_id
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest, NotFound, WrongState
from sdxl_gateway.gateway.batch_answers import BatchAnswers
from sdxl_gateway.gateway.batch_context import BatchContext
from sdxl_gateway.gateway.batch_files import CANCELLED
from sdxl_gateway.gateway.batch_lines import LineFormat
from sdxl_gateway.gateway.batch_run import BatchRun
from sdxl_gateway.gateway.batches_elsewhere import OtherBatches
from sdxl_gateway.gateway.fleet.batches import BatchFleet
from sdxl_gateway.gateway.fleet.lists import behind, merged
from sdxl_gateway.gateway.packed import pack_caller, unpack_caller
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.shared.batch_mirror import BatchMirror
from sdxl_gateway.shared.order_mirror import Owing, nobody
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.file_table import Purpose
from sdxl_gateway.storage.files import FileStore
from sdxl_gateway.storage.pages import Cut
from sdxl_gateway.storage.webhook_table import enqueue_webhook

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
AGAIN_SECONDS = 30.0
"""A batch whose run failed unexpectedly is run again after this time."""


class Batches:
    """All batches of a server (a core TenantStore); `file_seconds` is how long their files are kept by default.

    `owing` tells which tenants a gateway has still to erase.
    """

    kind = BatchStore.kind

    def __init__(
        self,
        store: BatchStore,
        files: FileStore,
        tasks: Tasks,
        form: LineFormat,
        settings: Limits,
        file_seconds: float,
        mirror: BatchMirror | None = None,
        owing: Owing = nobody,
    ) -> None:
        self._others = OtherBatches(mirror)
        self._context = BatchContext(store, files, tasks, form, settings, self._others)
        self._store = store
        self._file_seconds = file_seconds
        self._runs: dict[str, BatchRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(self._new_slots)
        self._wake = asyncio.Event()
        may_take = partial(_may_take, tasks)
        self.fleet = None if mirror is None else BatchFleet(store, files, mirror, self, may_take, owing)

    def follow(self, form: LineFormat, settings: Limits, file_seconds: float) -> None:
        """From now on, read and answer lines by these, within these limits."""
        self._context.form, self._context.settings = form, settings
        self._file_seconds = file_seconds

    async def create(self, new: NewBatch, caller: Caller) -> Batch:
        """Accept a batch; it is on the disk then. Raises NotFound, InvalidRequest, BodyTooLarge, Busy, StorageFull."""
        await self._check_file(new.input_file, caller)
        limits, now = self._context.settings, self._store.clock()
        batch = Batch(
            id=new_batch_id(),
            tenant=caller.tenant,
            caller=pack_caller(caller),
            endpoint=new.endpoint,
            input_file=new.input_file,
            base_url=new.base_url,
            created=now,
            expires=now + limits.window_seconds,
            file_seconds=new.file_seconds or self._file_seconds,
            metadata=new.metadata,
        )
        await self._store.add(batch, limits.max_per_tenant)
        self._wake.set()
        if self.fleet is not None:
            await self.fleet.tell_now(batch)
        return batch

    async def _check_file(self, file_id: str, caller: Caller) -> None:
        try:
            file = await self._context.files.find(file_id, caller.tenant)
        except NotFound as missing:
            raise NotFound(missing.message, param="input_file_id") from None
        if file.purpose is not Purpose.BATCH:
            raise InvalidRequest(f"The file is for '{file.purpose}', not for 'batch'.", param="input_file_id")
        if not await self._context.files.room(caller.tenant):
            told = "Your files have as many bytes as they may: there is no room for the batch's outputs."
            raise BodyTooLarge(told, param="input_file_id", code="file_storage_exceeded")

    async def get(self, batch_id: str, caller: Caller) -> Batch:
        """The tenant's batch, or anybody's for an admin, here or at another gateway. Raises NotFound, Unavailable."""
        try:
            return await self._store.find(batch_id, None if caller.admin else caller.tenant)
        except NotFound:
            return await self._others.get(batch_id, caller)

    async def page(self, cut: Cut, tenant: str | None, caller: Caller) -> tuple[list[Batch], bool]:
        """A page of the tenant's at all gateways, or of everybody's, and whether more follow; of this one's while
        nobody can be asked. Raises InvalidRequest for an `after` that this caller has not."""
        cut = await behind(cut, partial(self.get, caller=caller))
        own, more = await self._store.page(tenant, cut)
        batches = merged(own, await self._others.page(tenant, cut), cut)
        return batches[: cut.limit], more or len(batches) > cut.limit

    async def cancel(self, batch_id: str, caller: Caller) -> Batch:
        """The batch, which ends soon, with the answers it has, where its gateway is there; one that was cancelled stays
        as it is. Raises NotFound, Unavailable, WrongState for one that ended otherwise."""
        found = await self.get(batch_id, caller)
        try:
            return _not_done(await self._end(batch_id))
        except NotFound:
            if found.state.over:
                return _not_done(found)
            await self._others.cancel(found)
            return _cancelling(found, self._store.clock())

    async def end(self, batch_id: str) -> None:
        """Cancel a batch of this gateway, unless it is over. Raises NotFound."""
        await self._end(batch_id)

    async def let_go(self, batch: Batch) -> None:
        """Stop running a batch that another gateway took over, and delete what this one has of it."""
        await self._let_go([task for batch_id, task in self._tasks.items() if batch_id == batch.id])
        await self._store.let_go(batch.id)
        for file_id in filter(None, [batch.output_file, batch.error_file]):
            with suppress(NotFound):
                await self._context.files.delete(file_id, batch.tenant)

    def wake(self) -> None:
        """There may be more to run."""
        self._wake.set()

    async def recover(self) -> None:
        """To be called once, before anything runs: lets go of the batches that others took over meanwhile."""
        if self.fleet is not None:
            await self.fleet.turn()

    async def _end(self, batch_id: str) -> Batch:
        batch = await self._store.change(batch_id, partial(_cancelling, now=self._store.clock()))
        if (run := self._runs.get(batch_id)) is not None:
            run.stop(CANCELLED)
        return batch

    def answers(self, batch_id: str, caller: Caller) -> AsyncIterator[bytes]:
        """As BatchAnswers."""
        return BatchAnswers(self._context, self.get).of(batch_id, caller)

    async def running(self) -> None:
        """Run every batch, until this is cancelled; unfinished ones go on after the next start."""
        try:
            while True:
                self._wake.clear()
                for batch in await self._store.unfinished():
                    if batch.id not in self._tasks:
                        self._take_up(batch)
                await self._wake.wait()
        finally:
            await self._let_go(list(self._tasks.values()))

    def _take_up(self, batch: Batch) -> None:
        run = self._runs[batch.id] = BatchRun(batch, self._context, self._slots[batch.tenant])
        self._tasks[batch.id] = task = asyncio.create_task(self._run(batch, run))
        task.add_done_callback(lambda _: self._let_fall(batch.id))

    def _let_fall(self, batch_id: str) -> None:
        del self._runs[batch_id], self._tasks[batch_id]

    async def _run(self, batch: Batch, run: BatchRun) -> None:
        try:
            with suppress(NotFound):
                await run.run()
        except Exception:
            log.exception("batch %s could not go on and is taken up again in %g s", batch.id, AGAIN_SECONDS)
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._wake.set)

    async def sweeping(self) -> None:
        """Delete blobs that no batch refers to, from time to time, until this is cancelled."""
        while True:
            await self._store.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sharing(self) -> None:
        """Keep in step with other gateways, if there are any, until this is cancelled."""
        if self.fleet is not None:
            await self.fleet.running()

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """All that is remembered of the tenant's batches."""
        return await self._store.export(tenant)

    async def erase(self, tenant: str) -> int:
        """Delete the tenant's batches, also those that run; how many that were. Raises Unavailable while other gateways
        would still know of them."""
        async with nullcontext() if self.fleet is None else self.fleet.still:
            await self._others.forget([batch["id"] for batch in await self._store.export(tenant)])
            await self._others.erase(tenant, ours=True)
            count = await self._store.erase(tenant)
        await self._let_go([task for batch_id, task in self._tasks.items() if self._runs[batch_id].tenant == tenant])
        return count

    async def erase_elsewhere(self, tenant: str) -> None:
        """As Tasks.erase_elsewhere."""
        await self._others.erase(tenant)

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete finished batches that were created before; how many that were."""
        return await self._store.forget_before(unix_seconds)

    async def _let_go(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _new_slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._context.settings.lines_at_once)


def tell_of_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    """Enqueue the webhook of a batch that has ended, if the key it was made with names a receiver."""
    url = unpack_caller(batch.caller).webhook_url
    if url is not None:
        event, now = f"batch.{batch.state}", batch.times[batch.state]
        enqueue_webhook(connection, tenant=batch.tenant, url=url, event=event, subject=batch.id, now=now)


def _may_take(tasks: Tasks) -> bool:
    """Whether gateways that say nothing can be taken for gone by now."""
    return tasks.fleet is not None and tasks.fleet.settled


def _cancelling(batch: Batch, now: float) -> Batch:
    return batch if batch.state is BatchState.CANCELLING else batch.come_to(BatchState.CANCELLING, now)


def _not_done(batch: Batch) -> Batch:
    """The batch itself, where there was something to cancel. Raises WrongState, in the words that OpenAI says it in."""
    if batch.state.over and batch.state is not BatchState.CANCELLED:
        raise WrongState(f"Cannot cancel a batch with status '{batch.state}'.")
    return batch
