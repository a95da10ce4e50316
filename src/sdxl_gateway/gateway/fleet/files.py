"""A FileStore that reports its files to the other gateways, and also finds, reads and deletes theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from sdxl_gateway.config import Files
from sdxl_gateway.core.errors import Gone, NotFound, Unavailable
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.gateway.fleet.lists import behind, first_ones, merged
from sdxl_gateway.shared.file_mirror import FileElsewhere, FileMirror
from sdxl_gateway.storage import file_table
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.file_table import StoredFile
from sdxl_gateway.storage.files import FileStore, NewFile
from sdxl_gateway.storage.pages import Cut

LOOK_SECONDS = 0.2
ANY = 2**53
"""The room of a tenant without a limit."""
DELETE_SECONDS = 5.0
"""A gateway that has not deleted a file within this time counts as one that does not answer."""
AGAIN_SECONDS = 3600.0
"""A file is reported again after this time, before its record expires."""
TOLD_AT_ONCE = 64
OUT_OF_REACH = (
    "The bytes of this file are at the gateway that took it. Others hand out those of a small file, within a day, and "
    "those of every file where gateways share a bucket."
)


class FleetFiles(FileStore):
    """The FileStore of a gateway that shares. Each turn of `share` brings the mirror in line with the database: it
    forgets files that are gone, and hears of those it lacks."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        limits: Files,
        mirror: FileMirror,
        clock: Callable[[], float] = time.time,
        listener: Listener = unheard,
    ) -> None:
        super().__init__(database, blobs, limits, clock, listener)
        self._mirror = mirror
        self._held_told: dict[str, int] = {}

    async def add(self, tenant: str, new: NewFile, blob: str, size: int, *, capped: bool = False) -> StoredFile:
        """As FileStore; other gateways' files count against the tenant's limit too."""
        stored = await super().add(tenant, new, blob, size, capped=capped)
        with suppress(Unavailable):
            if not await self._fits(tenant, self.limits.max_tenant_bytes if capped else ANY):
                await super().delete(stored.id, tenant)
                raise self.refusal(0)
            await self._tell(stored, copied=True)
        return stored

    async def held(self, tenant: str) -> int:
        """As FileStore, at all gateways; at this one alone while the mirror cannot be reached."""
        mine = await super().held(tenant)
        with suppress(Unavailable):
            return await self._mirror.held(tenant, mine)
        return mine

    async def find(self, file_id: str, tenant: str) -> StoredFile:
        """As FileStore, at any gateway. Raises NotFound, Unavailable."""
        try:
            return await super().find(file_id, tenant)
        except NotFound:
            found = await self._mirror.find(file_id)
            if found is None or found.tenant != tenant or not self._is_there(found):
                raise
            return found

    def pieces(self, file: StoredFile) -> Iterator[bytes]:
        """As FileStore. Raises Gone also when another gateway alone has them."""
        if not isinstance(file, FileElsewhere):
            return super().pieces(file)
        if file.address is not None:
            return self.blobs.pieces_at(file.address)
        copy = self._mirror.copy_of(file)
        if copy is None:
            raise Gone(OUT_OF_REACH)
        return iter([copy])

    async def page(self, tenant: str, cut: Cut, purpose: str | None = None) -> tuple[list[StoredFile], bool]:
        """As FileStore, of all gateways; of this one alone while the mirror cannot be reached."""
        cut = await behind(cut, partial(self.find, tenant=tenant))
        own, more = await super().page(tenant, cut, purpose)
        files = merged(own, await self._others(tenant, cut, purpose), cut)
        return files[: cut.limit], more or len(files) > cut.limit

    async def delete(self, file_id: str, tenant: str) -> StoredFile:
        """As FileStore. Raises NotFound, and Unavailable where the gateway that has it does not answer."""
        file = await self.find(file_id, tenant)
        if isinstance(file, FileElsewhere):
            await self._deleted_there(file)
            return file
        await super().delete(file_id, tenant)
        with suppress(Unavailable):
            await self._fits(tenant)
            await self._mirror.forget([file_id])
        return file

    async def erase(self, tenant: str) -> int:
        """As FileStore. Raises Unavailable while other gateways would still know of them."""
        await self._mirror.forget([file["id"] for file in await self.export(tenant)])
        gone = await super().erase(tenant)
        with suppress(Unavailable):
            await self._fits(tenant)
        return gone

    async def share(self) -> None:
        """As FileStore; also deletes what other gateways ask to be deleted."""
        for file_id, tenant in await self._mirror.to_delete():
            with suppress(NotFound):
                await super().delete(file_id, tenant)
            await self._fits(tenant)
            await self._mirror.forget([file_id])
        told, now = await self._mirror.told(), self._clock()
        here = await self._database.run(partial(file_table.all_ids, now=now))
        await self._mirror.forget(told.keys() - set(here))
        due = [file_id for file_id in here if told.get(file_id, 0.0) <= now - AGAIN_SECONDS]
        for at in range(0, len(due), TOLD_AT_ONCE):
            ids = due[at : at + TOLD_AT_ONCE]
            for file in await self._database.run(partial(file_table.named, ids=ids)):
                await self._tell(file, copied=file.id not in told)
        await self._share_held(everybody=bool(due))

    async def _share_held(self, *, everybody: bool) -> None:
        """Report the bytes held for each tenant where they changed; for `everybody` after the mirror was lost."""
        held = await self._database.run(file_table.held_by_tenant)
        gone = dict.fromkeys(self._held_told.keys() - held.keys(), 0)
        for tenant, mine in (held | gone).items():
            if everybody or self._held_told.get(tenant) != mine:
                await self._fits(tenant)
        self._held_told = held

    async def _fits(self, tenant: str, most: int = ANY) -> bool:
        """Report the bytes held for the tenant here, unless all gateways hold more than `most`; whether they fit."""
        return await self._mirror.held(tenant, await super().held(tenant), most) <= most

    async def _tell(self, file: StoredFile, *, copied: bool) -> None:
        address, data = self.blobs.address(file.blob), None
        if copied and address is None and self._mirror.copies(file):
            with suppress(Gone):
                data = await asyncio.to_thread(self.blobs.read, file.blob)
        await self._mirror.tell(file, address, data)

    async def _others(self, tenant: str, cut: Cut, purpose: str | None) -> list[StoredFile]:
        """Other gateways' files among the first ones behind the cut's place."""
        listed = self._mirror.listed(tenant, cut)
        found = await first_ones((file async for file in listed if purpose in (None, file.purpose)), cut.limit + 1)
        return [file for file in found if self._is_there(file)]

    async def _deleted_there(self, file: FileElsewhere) -> None:
        await self._mirror.ask_to_delete(file)
        loop = asyncio.get_running_loop()
        end = loop.time() + DELETE_SECONDS
        while await self._mirror.find(file.id) is not None:
            if loop.time() > end:
                raise Unavailable("The file's gateway does not answer; it deletes the file when it is back.")
            await asyncio.sleep(LOOK_SECONDS)

    def _is_there(self, file: FileElsewhere) -> bool:
        """Whether it is another gateway's and has not expired; for this gateway's own the database counts."""
        return file.gateway != self._mirror.gateway and (file.expires is None or file.expires > self._clock())
