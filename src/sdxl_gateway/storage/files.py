"""Stores files that tenants upload or batches write, each as a blob and a row, for its tenant alone."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sdxl_gateway.config import Files
from sdxl_gateway.core.errors import BodyTooLarge, GatewayError, Gone, NotFound
from sdxl_gateway.core.events import Kept
from sdxl_gateway.core.files import IncomingFile
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage import file_table
from sdxl_gateway.storage.blobs import Blobs
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.file_table import Purpose, StoredFile
from sdxl_gateway.storage.pages import Cut, unknown_after

ID_PREFIX = "file-"
ID_BYTES = 16
HEAD_BYTES = 16
SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be stored, for `keep_seconds`, or without an end.

    `clean` gives the bytes that are stored in place of those that came; it may refuse them by raising.
    """

    name: str
    purpose: Purpose
    keep_seconds: float | None = None
    clean: Callable[[bytes], bytes] | None = None


Describe = Callable[[int, bytes], NewFile]
"""The file that is stored, from its length and its first bytes; refuses it by raising."""


class FileStore:
    """The files of one database and one store of blobs (a core TenantStore); other tenants' files do not exist.

    `limits` may be replaced, for the files that come then.
    """

    kind = "files"

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        limits: Files,
        clock: Callable[[], float] = time.time,
        listener: Listener = unheard,
    ) -> None:
        self.blobs = blobs
        self.limits = limits
        self._database = database
        self._clock = clock
        self._listener = listener

    async def room(self, tenant: str) -> int:
        """How many more bytes the tenant's files may take, at least 0."""
        return max(0, self.limits.max_tenant_bytes - await self.held(tenant))

    async def held(self, tenant: str) -> int:
        """How many bytes the tenant's files take."""
        return await self._database.run(partial(file_table.held_bytes, tenant=tenant))

    async def receive(self, tenant: str, chunks: AsyncIterable[bytes], describe: Describe) -> StoredFile:
        """Store a new file, writing its bytes as they come.

        Raises BodyTooLarge, StorageFull, and what `chunks` and `describe` raise; leaves nothing then.
        """
        room = await self.room(tenant)
        with self.blobs.incoming() as file:
            size, head = await _written(file, chunks, min(room, self.limits.max_file_bytes), self.refusal(room))
            new = describe(size, head)
            blob, size = await asyncio.to_thread(self._taken, file, new.clean, size)
        return await self.add(tenant, new, blob, size, capped=True)

    def _taken(self, file: IncomingFile, clean: Callable[[bytes], bytes] | None, size: int) -> tuple[str, int]:
        """The blob of the file as `clean` changes it, if that is given, and its size."""
        if clean is None:
            return self.blobs.take(file), size
        data = clean(self.blobs.written(file))
        return self.blobs.put(data), len(data)

    async def add(self, tenant: str, new: NewFile, blob: str, size: int, *, capped: bool = False) -> StoredFile:
        """Store the row of a new file whose bytes are `blob` already.

        With `capped` it counts against the tenant's limit. Raises BodyTooLarge, StorageFull; deletes the blob then.
        """
        stored = self.made(tenant, new, blob, size)
        most = self.limits.max_tenant_bytes if capped else None
        try:
            if not await self._database.run(partial(file_table.insert, file=stored, most_bytes=most)):
                raise self.refusal(0)
        except GatewayError:
            await asyncio.to_thread(self.blobs.delete, blob)
            raise
        self._listener(Kept("file", "stored"))
        return stored

    def made(self, tenant: str, new: NewFile, blob: str, size: int) -> StoredFile:
        """A file whose bytes are `blob` already, for whoever writes its row in another transaction."""
        now = self._clock()
        expires = None if new.keep_seconds is None else now + new.keep_seconds
        file_id = ID_PREFIX + secrets.token_hex(ID_BYTES)
        return StoredFile(file_id, tenant, new.name, new.purpose, size, now, expires, blob)

    async def find(self, file_id: str, tenant: str) -> StoredFile:
        """The tenant's file of that id. Raises NotFound."""
        found = await self._database.run(partial(file_table.find, file_id=file_id, tenant=tenant, now=self._clock()))
        if found is None:
            raise NotFound(f"No such File object: {shown(file_id)[1:-1]}", param="id")
        return found

    async def page(self, tenant: str, cut: Cut, purpose: str | None = None) -> tuple[list[StoredFile], bool]:
        """A page of the tenant's files, and whether more follow. Raises InvalidRequest for an unknown `after`."""
        found = await self._database.run(
            partial(file_table.one_page, tenant=tenant, purpose=purpose, now=self._clock(), cut=cut)
        )
        if found is None:
            raise unknown_after(cut.after)
        return found

    def pieces(self, file: StoredFile) -> Iterator[bytes]:
        """Its bytes, a mebibyte at a time; blocks. Raises Gone, at once."""
        return self.blobs.pieces(file.blob)

    async def delete(self, file_id: str, tenant: str) -> StoredFile:
        """Delete the file; it is returned. Raises NotFound."""
        file = await self.find(file_id, tenant)
        await self._database.run(partial(file_table.remove, file_id=file.id))
        self._listener(Kept("file", "deleted"))
        await self._dropped([file.blob])
        return file

    async def within_reach(self, file_id: str, tenant: str) -> bool:
        """Whether the tenant has that file, and its bytes can be read here. Raises Unavailable."""
        with suppress(NotFound, Gone):
            file = await self.find(file_id, tenant)
            await asyncio.to_thread(self.pieces, file)
            return True
        return False

    async def share(self) -> None:
        """Report the files to other gateways, if there are any (gateway/fleet/files.py). Raises Unavailable."""

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's files, without their bytes."""
        files = await self._database.run(partial(file_table.all_of, tenant=tenant))
        return [
            {"id": file.id, "name": file.name, "purpose": file.purpose, "bytes": file.bytes, "created": file.created}
            for file in files
        ]

    async def erase(self, tenant: str) -> int:
        """Delete all files of the tenant; how many that were."""
        return await self._dropped(await self._database.run(partial(file_table.remove_of, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete all tenants' files that were created before; how many that were."""
        return await self._dropped(await self._database.run(partial(file_table.remove_older, than=unix_seconds)))

    async def sweep(self) -> int:
        """Delete expired files, and blobs that no file refers to; how many files that were."""
        gone = await self._dropped(await self._database.run(partial(file_table.remove_expired, now=self._clock())))
        self._listener(Kept("file", "expired", gone))
        known = await self._database.run(file_table.all_blobs)
        await asyncio.to_thread(self.blobs.sweep, known)
        return gone

    async def sweeping(self) -> None:
        """Sweep at intervals, until this is cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _dropped(self, blobs: list[str]) -> int:
        """Delete these blobs, whose rows are gone already, so that no row names a missing blob; how many."""
        await asyncio.to_thread(self.blobs.delete, *blobs)
        return len(blobs)

    def refusal(self, room: int) -> BodyTooLarge:
        """The refusal of a file that is larger than this room."""
        if room >= self.limits.max_file_bytes:
            return BodyTooLarge(f"A file has at most {self.limits.max_file_bytes} bytes.", param="file")
        return BodyTooLarge(
            f"Your files have at most {self.limits.max_tenant_bytes} bytes together: delete some first.",
            param="file",
            code="file_storage_exceeded",
        )


async def _written(
    file: IncomingFile, chunks: AsyncIterable[bytes], most_bytes: int, refusal: BodyTooLarge
) -> tuple[int, bytes]:
    """Write the chunks; their size, and the first bytes."""
    size, head = 0, b""
    async for chunk in chunks:
        size += len(chunk)
        if size > most_bytes:
            raise refusal
        head = head if len(head) >= HEAD_BYTES else (head + chunk)[:HEAD_BYTES]
        await asyncio.to_thread(file.write, chunk)
    return size, head
