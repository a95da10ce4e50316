"""Batches over any gateway, in one folder: opened as at a server's start, and run while a context is open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_gateway.api.endpoints.batch_lines import BatchLines
from sdxl_gateway.config import Batches as BatchSettings
from sdxl_gateway.config import Files, Jobs, Settings
from sdxl_gateway.core.ask import Place
from sdxl_gateway.core.batch import Batch, NewBatch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.ports import ImageStore, StoredImage
from sdxl_gateway.gateway.batches import Batches, tell_of_batch
from sdxl_gateway.gateway.file_pictures import FilePictures
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database, opened
from sdxl_gateway.storage.file_table import Purpose
from sdxl_gateway.storage.files import FileStore, NewFile
from sdxl_gateway.storage.jobs import JobStore
from tests.kit.images import MemoryImages, signer, stored
from tests.kit.pictures import PNG

CALLER = Caller(tenant="me")
GENERATIONS = "/v1/images/generations"
LOOKS = 15_000
"""How often to look, every 2 ms."""


class SameImages(MemoryImages):
    """A store that has every picture, always the same one."""

    async def find(self, image_id: str) -> StoredImage:
        return stored(int(image_id, 16))

    async def read(self, stored: StoredImage) -> bytes:
        return PNG


@dataclass(frozen=True)
class BatchKit:
    """The batches of one folder, and the stores they use."""

    batches: Batches
    files: FileStore
    tasks: Tasks
    store: BatchStore
    database: Database

    async def send(self, *lines: bytes, caller: Caller = CALLER) -> str:
        """Store a file of these lines; its id."""

        async def chunks() -> AsyncIterator[bytes]:
            for line in lines:
                yield line + b"\n"

        new = NewFile("in.jsonl", Purpose.BATCH)
        return (await self.files.receive(caller.tenant, chunks(), lambda size, head: new)).id

    async def accepted(self, *lines: bytes, endpoint: str = GENERATIONS, **said: Any) -> Batch:
        """A new batch of these lines."""
        new = NewBatch(await self.send(*lines), endpoint, "http://gw", said.pop("metadata", {}), **said)
        return await self.batches.create(new, CALLER)

    async def over(self, batch_id: str) -> Batch:
        """Wait for the batch to end."""
        return await self.once(batch_id, lambda batch: batch.state.over)

    async def once(self, batch_id: str, holds: Callable[[Batch], bool]) -> Batch:
        """Wait until this holds for the batch. Raises TimeoutError."""
        for _ in range(LOOKS):
            if holds(batch := await self.batches.get(batch_id, CALLER)):
                return batch
            await asyncio.sleep(0.002)
        raise TimeoutError(batch)

    async def lines_of(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of a file of answers; none if there is no file."""
        if file_id is None:
            return []
        data = b"".join(self.files.pieces(await self.files.find(file_id, CALLER.tenant)))
        return [json.loads(line) for line in data.splitlines()]


@asynccontextmanager
async def batch_kit(
    folder: Path, gateway: Gateway, images: ImageStore | None = None, **settings: Any
) -> AsyncIterator[BatchKit]:
    """Nothing is painted before `working`; `settings` are the section of batches."""
    with opened(folder) as database:
        tasks = Tasks(Jobs(), JobStore(database, BlobFolder(folder / "uploads")), gateway)
        files = FileStore(database, BlobFolder(folder / "files"), Files())
        store = BatchStore(database, BlobFolder(folder / "batches"), on_end=[tell_of_batch])
        pictures = NamedPictures({Place.FILE: FilePictures(files)}, most_bytes=2**20)
        form, limits = BatchLines(Settings(), pictures, images or SameImages(), signer()), BatchSettings(**settings)
        await tasks.recover()
        yield BatchKit(Batches(store, files, tasks, form, limits, 3600.0), files, tasks, store, database)


@asynccontextmanager
async def working(kit: BatchKit) -> AsyncIterator[None]:
    """Run the batches until the context is left, and stop them as an orderly server does."""
    running = [asyncio.create_task(work()) for work in (kit.tasks.running, kit.batches.running)]
    try:
        yield
    finally:
        for task in reversed(running):
            task.cancel()
        await asyncio.wait(running)


def request(custom_id: str, endpoint: str = GENERATIONS, **body: Any) -> bytes:
    """A line of a batch's input file."""
    said = {"prompt": f"picture {custom_id}", "response_format": "b64_json", **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": endpoint, "body": said}).encode()
