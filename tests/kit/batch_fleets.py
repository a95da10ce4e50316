"""Gateways that share their batches, over those of tests/kit/fleets.py; each looks at the others by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_gateway.api.endpoints.batch_lines import BatchLines
from sdxl_gateway.config import Batches as BatchSettings
from sdxl_gateway.config import Files, Settings
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.gateway.batches import Batches, tell_of_batch
from sdxl_gateway.gateway.fleet.files import FleetFiles
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.shared.batch_mirror import BatchMirror
from sdxl_gateway.storage.batches import BatchStore
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.job_table import Filter
from tests.kit.batches import BatchKit, SameImages
from tests.kit.fleets import Member, member
from tests.kit.images import signer
from tests.kit.redis_server import RedisServer

LINES_AT_ONCE = 4


class CommonFolder(BlobFolder):
    """Blobs that others read where they lie, as in a bucket."""

    def address(self, blob_id: str) -> str | None:
        return str(self.path_of(blob_id))

    def pieces_at(self, address: str) -> Iterator[bytes]:
        return iter([Path(address).read_bytes()])


@dataclass(frozen=True)
class BatchMember(BatchKit):
    """The batches of `one`."""

    one: Member
    mirror: BatchMirror
    form: BatchLines

    async def turn(self) -> None:
        """It looks at jobs, and at batches."""
        await self.one.fleet.turn()
        await self.batches.recover()

    async def begin_again(self) -> None:
        """As after its end in order: what it had in hand may be taken up."""
        await self.tasks.recover()
        await self.batches.recover()

    async def wait_a_lease(self) -> None:
        """It looks, and again a lease later."""
        await self.one.wait_a_lease()
        await self.batches.recover()

    async def here(self, batch_id: str) -> bool:
        """It stands in the database."""
        with suppress(NotFound):
            await self.store.find(batch_id)
            return True
        return False

    async def painted(self, batch_id: str) -> list[str]:
        """The lines of the batch that were painted here, by custom_id."""
        jobs = await self.one.store.page(Filter(batch=batch_id), 1000)
        return sorted(job.custom_id or "" for job in jobs if job.result is not None)

    async def webhooks(self) -> list[tuple[str, str]]:
        """Of what, and which event."""
        query = "SELECT subject, event FROM webhook_deliveries"
        rows = await self.database.run(lambda connection: connection.execute(query).fetchall())
        return [tuple(row) for row in rows]


@asynccontextmanager
async def batch_member(
    redis: RedisServer, folder: Path, blobs: type[BlobFolder] = BlobFolder, **settings: Any
) -> AsyncIterator[BatchMember]:
    """In `folder`, as it was left there; files lie in `blobs`, `settings` are those of [redis]."""
    async with member(redis, folder, **settings) as one:
        mirrors = one.shared.files, one.shared.batches
        assert mirrors[0] is not None
        assert mirrors[1] is not None
        files = FleetFiles(one.database, blobs(folder / "files"), Files(), mirrors[0])
        store = BatchStore(one.database, BlobFolder(folder / "batches"), on_end=[tell_of_batch])
        form = BatchLines(Settings(), NamedPictures({}, most_bytes=2**20), SameImages(), signer())
        limits = BatchSettings(lines_at_once=LINES_AT_ONCE)
        batches = Batches(store, files, one.tasks, form, limits, 3600.0, mirrors[1], one.owing)
        made = BatchMember(batches, files, one.tasks, store, one.database, one, mirrors[1], form)
        await made.begin_again()
        yield made
