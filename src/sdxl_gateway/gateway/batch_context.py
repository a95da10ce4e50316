"""What every batch of a server is run with, and how work is retried while the server cannot do it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sdxl_gateway.config import Batches
from sdxl_gateway.core.errors import Busy, StorageFull, Unavailable
from sdxl_gateway.gateway.batch_lines import LineFormat
from sdxl_gateway.gateway.batches_elsewhere import OtherBatches
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.files import FileStore

log = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
NOT_NOW = (Busy, Unavailable, StorageFull)
"""Passing problems, which are no fault of a line or a batch: it is tried again."""

T = TypeVar("T")


@dataclass(slots=True)
class BatchContext:
    """Shared by all batches; `form` and `settings` are replaced when the settings are read again."""

    store: BatchStore
    files: FileStore
    tasks: Tasks
    form: LineFormat
    settings: Batches
    others: OtherBatches = field(default_factory=OtherBatches)


async def patiently(batch_id: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; it is tried again, with growing pauses, while a passing problem is in the way."""
    pause_seconds = PAUSE_SECONDS
    while True:
        try:
            return await work()
        except NOT_NOW as problem:
            log.warning("batch %s waits: %s", batch_id, problem)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
