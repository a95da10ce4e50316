"""Takes one batch to its end: its file is read, its lines become jobs a few at a time, their answers two files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sdxl_gateway.core.batch import Batch, BatchState, LineError
from sdxl_gateway.core.errors import GatewayError, Gone, NotFound
from sdxl_gateway.core.threads import from_thread
from sdxl_gateway.gateway.batch_context import BatchContext, patiently
from sdxl_gateway.gateway.batch_files import CANCELLED, EXPIRED, FULL, Reason, Written, answered, write_files
from sdxl_gateway.gateway.batch_lines import BatchLine, Checked, check, split_lines
from sdxl_gateway.gateway.line_run import LineRun
from sdxl_gateway.gateway.packed import unpack_caller
from sdxl_gateway.storage.file_table import Purpose, StoredFile
from sdxl_gateway.storage.files import NewFile

ENDS = {CANCELLED: BatchState.CANCELLED, EXPIRED: BatchState.EXPIRED}

T = TypeVar("T")


class BatchRun:
    """Runs one unfinished batch; `slots` bounds how many lines of its tenant are jobs at the same time."""

    def __init__(self, batch: Batch, context: BatchContext, slots: asyncio.Semaphore) -> None:
        self._batch = batch
        self._context = context
        self._store = context.store
        self._slots = slots
        self._reason: Reason | None = None
        self._stopped = asyncio.Event()
        self._output_bytes = batch.output_bytes
        self._line_run = LineRun(batch, context, unpack_caller(batch.caller), self._stopped)

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self._batch.tenant

    def stop(self, reason: Reason) -> None:
        """Paint no further lines, for that reason."""
        self._reason = reason
        self._stopped.set()

    async def run(self) -> None:
        """Run it to its end, from wherever it stands. Raises NotFound when it is erased meanwhile."""
        if self._batch.state is BatchState.CANCELLING:
            self.stop(CANCELLED)
        if self._batch.lines is None and not await self._patiently(self._validated):
            return
        expiry = asyncio.create_task(self._expire())
        try:
            await self._paint_lines()
        finally:
            expiry.cancel()
        await self._patiently(self._finished)

    async def _expire(self) -> None:
        await asyncio.sleep(max(0.0, self._batch.expires - self._store.clock()))
        self.stop(self._reason or EXPIRED)

    async def _validated(self) -> bool:
        """Read its file; whether there is something to paint, else the batch is over."""
        if self._reason is CANCELLED and not self._batch.total:
            return await self._ended_early(BatchState.CANCELLED)
        with self._store.blobs.incoming() as kept:
            try:
                checked = await self._read_input(kept.write)
            except (NotFound, Gone):
                gone = LineError(
                    "input_file_not_found", "The input file was gone, or out of reach, when it was to be read."
                )
                return await self._ended_early(BatchState.FAILED, gone)
            if checked.errors:
                return await self._ended_early(BatchState.FAILED, *checked.errors)
            blob = await asyncio.to_thread(self._store.blobs.take, kept)
        self._batch = await self._store.change(self._batch.id, partial(self._begun, blob=blob, checked=checked))
        return True

    async def _read_input(self, keep: Callable[[bytes], object]) -> Checked:
        """Raises NotFound, Gone."""
        file = await self._context.files.find(self._batch.input_file, self._batch.tenant)
        return await asyncio.to_thread(lambda: self._checked(self._context.files.pieces(file), keep))

    def _checked(self, pieces: Iterator[bytes], keep: Callable[[bytes], object]) -> Checked:
        limits, form = self._context.settings, self._context.form
        read = partial(form.read, endpoint=self._batch.endpoint)
        return check(pieces, read, keep, most_lines=limits.max_lines, most_line_bytes=limits.max_line_bytes)

    def _begun(self, batch: Batch, blob: str, checked: Checked) -> Batch:
        begun = replace(batch, lines=blob, total=checked.total, model=checked.model)
        new = batch.state is BatchState.VALIDATING
        return begun.come_to(BatchState.IN_PROGRESS, self._store.clock()) if new else begun

    async def _ended_early(self, state: BatchState, *errors: LineError) -> bool:
        await self._context.others.check_ours(await self._store.find(self._batch.id))
        await self._store.finish(self._batch.id, state, (), lambda batch: replace(batch, errors=errors))
        return False

    async def _paint_lines(self) -> None:
        """Paint every line that has no answer yet; lines that are jobs already are waited for."""
        done = {output.line for output in await self._store.answers(self._batch.id)}
        jobs = await self._patiently(partial(self._context.tasks.lines, self._batch))
        async with asyncio.TaskGroup() as group:
            async for line in from_thread(self._lines(done)):
                job_id = jobs.get(line.custom_id)
                if job_id is None and self._over_for_new_lines():
                    continue
                await self._slots.acquire()
                task = group.create_task(self._line(line, job_id))
                task.add_done_callback(lambda _: self._slots.release())

    def _over_for_new_lines(self) -> bool:
        if self._reason is None and self._output_bytes >= self._context.settings.max_output_bytes:
            self._reason = FULL
        return self._reason is not None

    def _lines(self, done: frozenset[int] | set[int] = frozenset()) -> Iterator[BatchLine]:
        """The lines of the batch's own copy of its file, which was validated before; blocks."""
        form, most_bytes = self._context.form, self._context.settings.max_line_bytes
        for number, line in split_lines(self._store.blobs.pieces(self._batch.lines or ""), most_bytes):
            if line is not None and number not in done:
                yield form.read(number, line, self._batch.endpoint)

    async def _line(self, line: BatchLine, job_id: str | None) -> None:
        """One line, to its answer; without one where the batch was stopped before."""
        answer = await self._line_run.answer(line, job_id)
        if answer is None:
            return
        data = await asyncio.to_thread(answered, line.custom_id, answer)
        failed = answer.status >= 400
        keep = partial(self._store.answer, self._batch.id, line.number, line.custom_id, data, failed=failed)
        await self._patiently(keep)
        self._output_bytes += len(data)

    async def _finished(self) -> None:
        """Write its answers into files of the tenant's, and end it."""
        if self._reason is not CANCELLED:
            finalizing = partial(Batch.come_to, state=BatchState.FINALIZING, now=self._store.clock())
            self._batch = await self._store.change(self._batch.id, finalizing)
        answers = await self._store.answers(self._batch.id)
        reason = self._reason or EXPIRED
        folder = self._context.files.blobs
        written = await asyncio.to_thread(write_files, folder, self._store.blobs, self._lines(), answers, reason)
        files = [self._file(one, name) for one, name in zip(written, ("output", "errors"), strict=True)]
        try:
            await self._context.others.check_ours(await self._store.find(self._batch.id))
            await self._store.finish(self._batch.id, self._end(len(answers)), files, _all_counted)
        except GatewayError:
            await asyncio.to_thread(folder.delete, *(one.blob for one in written if one is not None))
            raise

    def _end(self, answers: int) -> BatchState:
        if self._reason is EXPIRED and answers == self._batch.total:
            return BatchState.COMPLETED
        return ENDS.get(self._reason or FULL, BatchState.COMPLETED)

    def _file(self, written: Written | None, name: str) -> StoredFile | None:
        if written is None:
            return None
        new = NewFile(f"{self._batch.id}_{name}.jsonl", Purpose.BATCH_OUTPUT, self._batch.file_seconds)
        return self._context.files.made(self._batch.tenant, new, written.blob, written.bytes)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        return await patiently(self._batch.id, work)


def _all_counted(batch: Batch) -> Batch:
    return replace(batch, failed=batch.total - batch.completed)
