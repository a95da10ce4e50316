"""Gateways that share their batches, on top of tests/kit/fleets.py; each looks at the others when told to."""

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
    """Blobs that other gateways can read at their path, as in a bucket."""

    def address(self, blob_id: str) -> str | None:
        return str(self.path_of(blob_id))

    def pieces_at(self, address: str) -> Iterator[bytes]:
        return iter([Path(address).read_bytes()])


@dataclass(frozen=True)
class BatchMember(BatchKit):
    """The batches of the gateway `one`."""

    one: Member
    mirror: BatchMirror
    form: BatchLines

    async def turn(self) -> None:
        """Let it look at jobs, then at batches."""
        await self.one.fleet.turn()
        await self.batches.recover()

    async def begin_again(self) -> None:
        """Recover as after an orderly restart: it may resume its own work."""
        await self.tasks.recover()
        await self.batches.recover()

    async def wait_a_lease(self) -> None:
        """Let it look, and again after the time of a lease."""
        await self.one.wait_a_lease()
        await self.batches.recover()

    async def here(self, batch_id: str) -> bool:
        """Whether the batch is in this gateway's database."""
        with suppress(NotFound):
            await self.store.find(batch_id)
            return True
        return False

    async def painted(self, batch_id: str) -> list[str]:
        """The custom_ids of the batch's lines that were painted here, sorted."""
        jobs = await self.one.store.page(Filter(batch=batch_id), 1000)
        return sorted(job.custom_id or "" for job in jobs if job.result is not None)

    async def webhooks(self) -> list[tuple[str, str]]:
        """Subject and event of the webhooks recorded here."""
        query = "SELECT subject, event FROM webhook_deliveries"
        rows = await self.database.run(lambda connection: connection.execute(query).fetchall())
        return [tuple(row) for row in rows]


@asynccontextmanager
async def batch_member(
    redis: RedisServer, folder: Path, blobs: type[BlobFolder] = BlobFolder, **settings: Any
) -> AsyncIterator[BatchMember]:
    """A gateway on the state in `folder`; files are stored in `blobs`, `settings` are those of [redis]."""
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
