"""What all batches of a server are run with, and the patience they have with it."""

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
"""What says nothing against a line or a batch: it is tried again."""

T = TypeVar("T")


@dataclass(slots=True)
class Surroundings:
    """`form` and `settings` are those of now, and others after they were read again."""

    store: BatchStore
    files: FileStore
    tasks: Tasks
    form: LineFormat
    settings: Batches
    others: OtherBatches = field(default_factory=OtherBatches)


async def patiently(batch_id: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, tried again for as long as the server cannot."""
    pause_seconds = PAUSE_SECONDS
    while True:
        try:
            return await work()
        except NOT_NOW as problem:
            log.warning("batch %s waits: %s", batch_id, problem)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
