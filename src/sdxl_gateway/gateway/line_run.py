"""Takes a line of a batch, gives its answer: the line becomes a job, which is awaited wherever it is painted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import EngineFault, GatewayError, NotFound
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.stored_job import JobState, StoredJob
from sdxl_gateway.gateway.batch_context import BatchContext, patiently
from sdxl_gateway.gateway.batch_lines import Answer, BatchLine

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LineRun:
    """Runs lines of one batch; once it is `stopped`, no line becomes a job, and lines that are jobs are cancelled."""

    batch: Batch
    context: BatchContext
    caller: Caller
    stopped: asyncio.Event

    async def answer(self, line: BatchLine, job_id: str | None) -> Answer | None:
        """The line's answer; `job_id` is its job, if it has one already. None when the batch was stopped before."""
        form = self.context.form
        try:
            found = None if job_id is None else await self._from_before(line, job_id)
            return found or await self._of_job(line, await self._submitted(line))
        except GatewayError as error:
            return form.refusal(error)
        except Exception:
            log.exception("a line of batch %s could not be painted", self.batch.id)
            return form.refusal(EngineFault("The server had an error while processing this request."))

    async def _from_before(self, line: BatchLine, job_id: str) -> Answer | None:
        """None when the job is unknown or its pictures are out of reach: the line is painted again then."""
        try:
            answer = await self._of_job(line, job_id)
        except NotFound:
            return None
        return answer if answer is None or answer.whole else None

    async def _of_job(self, line: BatchLine, job_id: str | None) -> Answer | None:
        job = None if job_id is None else await self._painted(job_id)
        if job is None:
            return None
        return await self._patiently(partial(self.context.form.answer, line, job, self.batch))

    async def _submitted(self, line: BatchLine) -> str | None:
        """The id of the line's new job; None when the batch was stopped before. Raises a Refusal."""
        asked = await self.context.form.ask(line, self.batch.endpoint, self.caller)
        submit = partial(
            self.context.tasks.submit,
            replace(asked, priority=Priority.LOW),
            self.caller,
            batch=self.batch.id,
            custom_id=line.custom_id,
        )
        return await self._patiently(partial(self._unless_stopped, submit))

    async def _unless_stopped(self, submit: Callable[[], Awaitable[StoredJob]]) -> str | None:
        return None if self.stopped.is_set() else (await submit()).id

    async def _painted(self, job_id: str) -> StoredJob | None:
        """The job, which is over; None when it was cancelled with the batch. Raises NotFound."""
        tasks = self.context.tasks
        while True:
            now = await self._patiently(partial(tasks.get, job_id, self.caller))
            if now.job.state.over:
                return None if self.stopped.is_set() and now.job.state is JobState.CANCELLED else now.job
            if self.stopped.is_set():
                await self._patiently(partial(tasks.cancel, job_id, self.caller))
            else:
                await self._over_or_stopped(job_id)

    async def _over_or_stopped(self, job_id: str) -> None:
        waits = [asyncio.create_task(self._over(job_id)), asyncio.create_task(self.stopped.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _over(self, job_id: str) -> None:
        async for _ in self.context.tasks.events(job_id, self.caller, None):
            pass

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        return await patiently(self.batch.id, work)
