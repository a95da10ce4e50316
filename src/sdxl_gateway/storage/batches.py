"""Keeps batches, and the answers to their lines until these are written into the tenant's files."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from sdxl_gateway.core.batch import Batch, BatchState, LineOutput
from sdxl_gateway.core.errors import Busy, Gone, NotFound
from sdxl_gateway.core.events import Kept
from sdxl_gateway.core.limits import RETRY_AFTER_SECONDS
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage import batch_handover, batch_table, file_table
from sdxl_gateway.storage.batch_table import Change
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.file_table import StoredFile
from sdxl_gateway.storage.pages import Cut, unknown_after

OnEnd = Callable[[sqlite3.Connection, Batch], None]
"""Writes something else in the transaction that ends a batch."""


class BatchStore:
    """Batches in the database; their requests and answers as blobs, until they are finished."""

    kind = "batches"

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        *,
        on_end: Sequence[OnEnd] = (),
        clock: Callable[[], float] = time.time,
        listener: Listener = unheard,
    ) -> None:
        self.blobs = blobs
        self.clock = clock
        self._listener = listener
        self._database = database
        self._on_end = tuple(on_end)

    async def add(self, batch: Batch, most: int) -> None:
        """Store a new batch. Raises Busy when its tenant has `most` unfinished ones already, StorageFull."""
        if not await self._database.run(partial(batch_table.add, batch=batch, most=most)):
            told = f"{most} of your batches are not done yet, which is as many as may be."
            raise Busy(told, retry_after_seconds=RETRY_AFTER_SECONDS, code="too_many_batches")
        self._listener(Kept("batch", "accepted"))

    async def find(self, batch_id: str, tenant: str | None = None) -> Batch:
        """The batch of that id, of that tenant if one is named. Raises NotFound."""
        found = await self._database.run(partial(batch_table.find, batch_id=batch_id, tenant=tenant))
        if found is None:
            raise unknown(batch_id)
        return found

    async def page(self, tenant: str | None, cut: Cut) -> tuple[list[Batch], bool]:
        """A page of the tenant's, or of all, and whether more follow. Raises InvalidRequest for an unknown `after`."""
        found = await self._database.run(partial(batch_table.one_page, tenant=tenant, cut=cut))
        if found is None:
            raise unknown_after(cut.after)
        return found

    async def unfinished(self) -> list[Batch]:
        """The unfinished ones, the oldest first."""
        return await self._database.run(batch_table.unfinished)

    async def over(self) -> list[str]:
        """The ids of the finished ones, the oldest first."""
        return await self._database.run(batch_table.over)

    async def named(self, ids: Sequence[str]) -> list[Batch]:
        """Those of these ids that exist, the oldest first."""
        return await self._database.run(partial(batch_table.named, ids=ids))

    async def change(self, batch_id: str, how: Change) -> Batch:
        """Store the batch as `how` changes it; a finished one stays as it is. Raises NotFound, StorageFull."""
        changed = await self._database.run(partial(batch_table.change, batch_id=batch_id, how=how))
        if changed is None:
            raise unknown(batch_id)
        return changed

    async def answer(self, batch_id: str, line: int, custom_id: str, data: bytes, *, failed: bool) -> None:
        """Store the answer to a line, itself a line of JSON, unless it has one already. Raises StorageFull."""
        blob = await asyncio.to_thread(self.blobs.put, data)
        output = LineOutput(batch_id, line, custom_id, failed, blob, len(data))
        if not await self._database.run(partial(batch_table.add_output, output=output)):
            await asyncio.to_thread(self.blobs.delete, blob)

    async def answers(self, batch_id: str) -> list[LineOutput]:
        """Its answers, in the order of their lines."""
        return await self._database.run(partial(batch_table.outputs, batch_id=batch_id))

    def read(self, outputs: Iterable[LineOutput]) -> Iterator[bytes]:
        """The contents of these answers; blocks."""
        return map(self.blobs.read, (output.blob for output in outputs))

    async def finish(self, batch_id: str, state: BatchState, files: Sequence[StoredFile | None], how: Change) -> None:
        """End the batch as `how` changes it, and store its `files` (of answers, of errors) in the same transaction.

        Its requests and answers are deleted. Raises NotFound when it is gone or finished, StorageFull.
        """
        work = partial(self._finish, batch_id=batch_id, state=state, files=files, how=how)
        needless = await self._database.run(work)
        self._listener(Kept("batch", state.value))
        self._listener(Kept("file", "stored", len([*filter(None, files)])))
        await asyncio.to_thread(self.blobs.delete, *needless)

    def _finish(
        self,
        connection: sqlite3.Connection,
        batch_id: str,
        state: BatchState,
        files: Sequence[StoredFile | None],
        how: Change,
    ) -> list[str]:
        """The blobs that are no longer needed."""
        before = batch_table.find(connection, batch_id)
        if before is None or before.state.over:
            raise unknown(batch_id)
        ended = _over(how(before), state, files, self.clock())
        batch_table.change(connection, batch_id, lambda _: ended)
        for file in filter(None, files):
            file_table.insert(connection, file)
        for told in self._on_end:
            told(connection, ended)
        return [*batch_table.drop_outputs(connection, batch_id), *filter(None, [before.lines])]

    async def lines_of(self, batch: Batch, most_bytes: int) -> bytes | None:
        """Its requests; None when they are larger than that, or gone."""
        return None if batch.lines is None else await asyncio.to_thread(self._at_most, batch.lines, most_bytes)

    async def adopt(self, batch: Batch, lines: bytes | None) -> None:
        """Store a batch that was taken over from another gateway, with its requests. Raises StorageFull."""
        blob = None if lines is None else await asyncio.to_thread(self.blobs.put, lines)
        if await self._database.run(partial(batch_handover.adopt, batch=batch, lines=blob)):
            self._listener(Kept("batch", "taken_over"))
        elif blob is not None:
            await asyncio.to_thread(self.blobs.delete, blob)

    async def let_go(self, batch_id: str) -> None:
        """Delete a batch that another gateway took over."""
        needless = await self._database.run(partial(batch_handover.let_go, batch_id=batch_id))
        self._listener(Kept("batch", "let_go"))
        await asyncio.to_thread(self.blobs.delete, *needless)

    async def unknown_of(self, tokens: Mapping[str, int]) -> list[str]:
        """Those of these ids that are not here, or only under a lower token."""
        return await self._database.run(partial(batch_handover.unknown, tokens=tokens))

    def _at_most(self, blob: str, most_bytes: int) -> bytes | None:
        data = bytearray()
        with suppress(Gone):
            for piece in self.blobs.pieces(blob):
                data += piece
                if len(data) > most_bytes:
                    return None
            return bytes(data)
        return None

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's batches, without their requests and answers."""
        batches = await self._database.run(partial(batch_table.all_of, tenant=tenant))
        return [asdict(batch) for batch in batches]

    async def erase(self, tenant: str) -> int:
        """Delete the tenant's batches, unfinished ones too; how many that were."""
        return await self._forgotten(await self._database.run(partial(batch_table.remove_of, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete finished batches that were created before; how many that were."""
        return await self._forgotten(await self._database.run(partial(batch_table.remove_older, than=unix_seconds)))

    async def sweep(self) -> None:
        """Delete blobs that no batch refers to, such as what a killed server was writing."""
        known = await self._database.run(batch_table.all_blobs)
        await asyncio.to_thread(self.blobs.sweep, known)

    async def _forgotten(self, batches: list[Batch]) -> int:
        for batch in batches:
            blobs = await self._database.run(partial(batch_table.drop_outputs, batch_id=batch.id))
            await asyncio.to_thread(self.blobs.delete, *blobs, *filter(None, [batch.lines]))
        return len(batches)


def _over(batch: Batch, state: BatchState, files: Sequence[StoredFile | None], now: float) -> Batch:
    output, errors = files or (None, None)
    ended = replace(batch.come_to(state, now), lines=None)
    return replace(ended, output_file=_id_of(output), error_file=_id_of(errors))


def _id_of(file: StoredFile | None) -> str | None:
    return None if file is None else file.id


def unknown(batch_id: str) -> NotFound:
    """The refusal of a batch that is not there."""
    return NotFound(f"No batch found with id '{shown(batch_id)[1:-1]}'.", param="batch_id")
