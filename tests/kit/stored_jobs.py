"""Stored jobs over any gateway: accepted, painted while a context is open, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sdxl_gateway.config import Jobs
from sdxl_gateway.core.stored_job import JobState
from sdxl_gateway.gateway.job_now import JobNow
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.job_table import Filter
from sdxl_gateway.storage.jobs import JobStore
from tests.kit.gateway import CALLER

LOOKS = 5000
"""How often to look, every 2 ms."""


@asynccontextmanager
async def kept_tasks(folder: Path, gateway: Gateway, **settings: Any) -> AsyncIterator[Tasks]:
    """Jobs opened as at a server's start; nothing is painted before `painting`."""
    with opened(folder) as database:
        tasks = Tasks(Jobs(**settings), JobStore(database, BlobFolder(folder / "uploads")), gateway)
        await tasks.recover()
        yield tasks


@asynccontextmanager
async def painting(tasks: Tasks) -> AsyncIterator[None]:
    """Paint accepted jobs until the context is left, and stop as an orderly server does."""
    running = asyncio.create_task(tasks.running())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def over(tasks: Tasks, job_id: str) -> JobNow:
    """Wait for the job to end."""
    return await in_state(tasks, job_id, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


async def in_state(tasks: Tasks, job_id: str, *states: JobState) -> JobNow:
    """Wait until the job is in one of these states."""
    for _ in range(LOOKS):
        if (now := await tasks.get(job_id, CALLER)).state in states:
            return now
        await asyncio.sleep(0.002)
    raise TimeoutError(now)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. Raises TimeoutError."""
    for _ in range(LOOKS):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise TimeoutError


async def all_states(tasks: Tasks) -> dict[str, JobState]:
    """The state of every job, by id."""
    found, _ = await tasks.page(Filter(), 1000, None, CALLER)
    return {now.job.id: now.state for now in found}
