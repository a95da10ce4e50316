"""Takes files that tenants send or batches write, keeps each as a blob and a row, for its tenant alone."""

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
    """What is said of a file that is to be kept; for `keep_seconds`, or without an end.

    What is kept of its bytes is what `clean` leaves of them, which may refuse them by raising.
    """

    name: str
    purpose: Purpose
    keep_seconds: float | None = None
    clean: Callable[[bytes], bytes] | None = None


Describe = Callable[[int, bytes], NewFile]
"""From a file's length and its first bytes, which may refuse it by raising."""


class FileStore:
    """The files of one database and one folder; a file of another tenant is as one that is not there.

    `limits` may be replaced: they hold for what comes.
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
        """How many bytes the tenant's files may yet take; not below 0."""
        return max(0, self.limits.max_tenant_bytes - await self.held(tenant))

    async def held(self, tenant: str) -> int:
        """How many bytes the tenant's files take."""
        return await self._database.run(partial(file_table.held_bytes, tenant=tenant))

    async def receive(self, tenant: str, chunks: AsyncIterable[bytes], describe: Describe) -> StoredFile:
        """A new file, written to the disk as its bytes come.

        Raises BodyTooLarge, StorageFull, and what `chunks` and `describe` raise; nothing is left of it then.
        """
        room = await self.room(tenant)
        with self.blobs.incoming() as file:
            size, head = await _written(file, chunks, min(room, self.limits.max_file_bytes), self.refusal(room))
            new = describe(size, head)
            blob, size = await asyncio.to_thread(self._taken, file, new.clean, size)
        return await self.add(tenant, new, blob, size, capped=True)

    def _taken(self, file: IncomingFile, clean: Callable[[bytes], bytes] | None, size: int) -> tuple[str, int]:
        """The blob of what `clean` leaves of the file, and its bytes; of all of it, where nothing is to be cleaned."""
        if clean is None:
            return self.blobs.take(file), size
        data = clean(self.blobs.written(file))
        return self.blobs.put(data), len(data)

    async def add(self, tenant: str, new: NewFile, blob: str, size: int, *, capped: bool = False) -> StoredFile:
        """A new file whose bytes are in this store's folder already, as `blob`.

        Raises BodyTooLarge where the tenant's files are `capped` and have no room for it, StorageFull; the blob is gone
        then.
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
        """The row of a file whose bytes are in this store's folder already, for whoever writes it among others."""
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
        """Its bytes, a mebibyte at a time; blocks. Raises Gone at once where the file was deleted meanwhile."""
        return self.blobs.pieces(file.blob)

    async def delete(self, file_id: str, tenant: str) -> StoredFile:
        """The file, which is gone. Raises NotFound."""
        file = await self.find(file_id, tenant)
        await self._database.run(partial(file_table.remove, file_id=file.id))
        self._listener(Kept("file", "deleted"))
        await self._dropped([file.blob])
        return file

    async def within_reach(self, file_id: str, tenant: str) -> bool:
        """The tenant has that file, and its bytes can be read here. Raises Unavailable."""
        with suppress(NotFound, Gone):
            file = await self.find(file_id, tenant)
            await asyncio.to_thread(self.pieces, file)
            return True
        return False

    async def share(self) -> None:
        """Other gateways know what there is, where there are any (gateway/fleet/files.py). Raises Unavailable."""

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """What is remembered of the tenant's files, but for their bytes."""
        files = await self._database.run(partial(file_table.all_of, tenant=tenant))
        return [
            {"id": file.id, "name": file.name, "purpose": file.purpose, "bytes": file.bytes, "created": file.created}
            for file in files
        ]

    async def erase(self, tenant: str) -> int:
        """All files of the tenant's are gone; how many that were."""
        return await self._dropped(await self._database.run(partial(file_table.remove_of, tenant=tenant)))

    async def forget_before(self, unix_seconds: float) -> int:
        """The files made before are gone, whosever; how many that were."""
        return await self._dropped(await self._database.run(partial(file_table.remove_older, than=unix_seconds)))

    async def sweep(self) -> int:
        """Files whose time is over are gone, and blobs that no file lies in; how many files that were."""
        gone = await self._dropped(await self._database.run(partial(file_table.remove_expired, now=self._clock())))
        self._listener(Kept("file", "expired", gone))
        known = await self._database.run(file_table.all_blobs)
        await asyncio.to_thread(self.blobs.sweep, known)
        return gone

    async def sweeping(self) -> None:
        """Sweeps now and then, for ever; cancel to stop."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _dropped(self, blobs: list[str]) -> int:
        """How many there were; a row goes before its blob, so that none ever names one that is not there."""
        await asyncio.to_thread(self.blobs.delete, *blobs)
        return len(blobs)

    def refusal(self, room: int) -> BodyTooLarge:
        """Of a file for which there is no more than this room."""
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
    """How many bytes that were, and the first of them."""
    size, head = 0, b""
    async for chunk in chunks:
        size += len(chunk)
        if size > most_bytes:
            raise refusal
        head = head if len(head) >= HEAD_BYTES else (head + chunk)[:HEAD_BYTES]
        await asyncio.to_thread(file.write, chunk)
    return size, head
