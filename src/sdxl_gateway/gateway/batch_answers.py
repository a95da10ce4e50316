"""Takes a batch wherever it is, gives what was painted of it so far, as lines of its output file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Gone, NotFound, Unavailable
from sdxl_gateway.core.stored_job import JobState
from sdxl_gateway.core.threads import from_thread
from sdxl_gateway.gateway.batch_context import BatchContext
from sdxl_gateway.gateway.batch_files import answered
from sdxl_gateway.gateway.batch_lines import BatchLine, split_lines, whole_lines
from sdxl_gateway.storage.batches import unknown

Find = Callable[[str, Caller], Awaitable[Batch]]
"""The batch of that id, at whichever gateway. Raises NotFound."""


@dataclass(frozen=True, slots=True)
class BatchAnswers:
    """The answers of any batch that `find` finds."""

    context: BatchContext
    find: Find

    async def of(self, batch_id: str, caller: Caller) -> AsyncIterator[bytes]:
        """Line by line; some may come twice where the batch ends meanwhile.

        Only its own tenant reads them. Raises NotFound where there is no such batch, or where its output file was
        deleted, and Unavailable where another gateway's requests are out of reach.
        """
        batch = await self._tenants(batch_id, caller)
        if not batch.state.over:
            with suppress(Gone):
                async for line in await self._so_far(batch, caller):
                    yield line
                return
            batch = await self._tenants(batch_id, caller)
        if batch.output_file is not None:
            file = await self.context.files.find(batch.output_file, batch.tenant)
            pieces = await asyncio.to_thread(self.context.files.pieces, file)
            async for line in from_thread(whole_lines(pieces)):
                yield line

    async def _tenants(self, batch_id: str, caller: Caller) -> Batch:
        batch = await self.find(batch_id, caller)
        if batch.tenant != caller.tenant:
            raise unknown(batch_id)
        return batch

    async def _so_far(self, batch: Batch, caller: Caller) -> AsyncIterator[bytes]:
        """Raises Gone, at any line, when the batch has ended meanwhile."""
        try:
            await self.context.store.find(batch.id)
        except NotFound:
            return self._of_jobs(batch, caller)
        good = [output for output in await self.context.store.answers(batch.id) if not output.failed]
        return from_thread(self.context.store.read(good))

    async def _of_jobs(self, batch: Batch, caller: Caller) -> AsyncIterator[bytes]:
        """Of another gateway's batch: made again from the jobs of its lines."""
        jobs, form = await self.context.tasks.lines(batch), self.context.form
        lines = await self._lines(batch) if jobs else iter(())
        async for line in from_thread(lines):
            if (job_id := jobs.get(line.custom_id)) is not None:
                job = (await self.context.tasks.get(job_id, caller)).job
                if job.state is JobState.COMPLETED:
                    answer = await form.answer(line, job, batch)
                    yield await asyncio.to_thread(answered, line.custom_id, answer)

    async def _lines(self, batch: Batch) -> Iterator[BatchLine]:
        pieces = await self._requests(batch)
        form, most_bytes = self.context.form, self.context.settings.max_line_bytes
        found = split_lines(pieces, most_bytes)
        return (form.read(number, line, batch.endpoint) for number, line in found if line is not None)

    async def _requests(self, batch: Batch) -> Iterator[bytes]:
        """Raises Unavailable."""
        told = await self.context.others.lines_of(batch)
        if told is not None:
            return iter([told])
        try:
            file = await self.context.files.find(batch.input_file, batch.tenant)
            return await asyncio.to_thread(self.context.files.pieces, file)
        except (NotFound, Gone):
            raise Unavailable("It runs at another gateway, which hands out its pictures until it is over.") from None
