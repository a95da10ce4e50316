"""How many jobs a second are accepted, each fsynced before its answer leaves: `python -m benchmarks.stored_jobs`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from sdxl_gateway.core.ask import Operation
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.stored_job import StoredJob, new_job_id
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import opened
from sdxl_gateway.storage.jobs import JobStore

COUNT = 1000
AT_ONCE = 64
ASK = "x" * 1500
"""About as long as one is."""
CASES = (("one by one", b"", 1), ("at once", b"", AT_ONCE), ("uploads", b"x" * 100_000, AT_ONCE))


def job(number: int) -> StoredJob:
    """One of eight tenants'."""
    tenant = f"tenant-{number % 8}"
    return StoredJob(new_job_id(), tenant, "{}", Operation.GENERATE, "demo", Priority.NORMAL, ASK, time.time())


async def accepted(store: JobStore, uploads: bytes, number: int) -> None:
    """As Tasks.submit does it, once the Ask is resolved."""
    await store.add(replace(job(number), uploads=await store.keep_uploads(uploads)), COUNT * 10)


async def rate(work: Callable[[int], Awaitable[None]], count: int, at_once: int) -> float:
    """A second."""
    numbers = iter(range(count))

    async def sender() -> None:
        for number in numbers:
            await work(number)

    start = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(at_once)))
    return count / (time.perf_counter() - start)


async def main() -> None:
    """Rows alone, one by one and many at once, and rows with a picture of 100 kB each."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, opened(Path(folder)) as database:
        store = JobStore(database, BlobFolder(Path(folder) / "uploads"))
        for name, uploads, at_once in CASES:
            per_second = await rate(partial(accepted, store, uploads), COUNT, at_once)
            print(f"{name:12} {per_second:8.0f} jobs/s")


if __name__ == "__main__":
    asyncio.run(main())
