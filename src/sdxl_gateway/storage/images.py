"""Stores encoded pictures under unguessable ids until they expire."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import Gone, NotFound, Unavailable
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.storage import image_table
from sdxl_gateway.storage.database import Database, Work
from sdxl_gateway.storage.pages import Cut, unknown_after
from sdxl_gateway.storage.picture_folder import EXTENSIONS, ID_BYTES, PictureFiles

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


class KeptImages:
    """A core ImageStore and TenantStore: bytes in `files`, everything else in the database.

    A file is written before its row, and deleted before it: deleting a row takes room, which a full disk has once the
    files are gone.
    """

    kind = "images"

    def __init__(
        self,
        files: PictureFiles,
        database: Database,
        delivery: Delivery,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._database = database
        self.limit(delivery)
        self._clock = clock

    def limit(self, delivery: Delivery) -> None:
        """Change how long new pictures are kept, and how many bytes all may take."""
        self._keep_seconds = delivery.keep_seconds
        self._cap_bytes = delivery.max_stored_bytes

    async def put(self, data: bytes, ext: str, *, tenant: str) -> StoredImage:
        """Store these bytes; they are durable when this returns.

        Above the cap the tenant with the most bytes loses its oldest ones.

        Raises StorageFull, Unavailable, ValueError for an unknown `ext`.
        """
        if ext not in EXTENSIONS:
            raise ValueError(f"no picture is kept as {ext!r}")
        now = self._clock()
        stored = StoredImage(secrets.token_hex(ID_BYTES), ext, tenant, len(data), now, now + self._keep_seconds)
        # On one thread to its end, so that who is cancelled leaves no file without its row.
        await asyncio.to_thread(self._put, stored, data)
        return stored

    def _put(self, stored: StoredImage, data: bytes) -> None:
        self._files.write(stored, data)
        try:
            insert = partial(image_table.insert, image=stored, cap_bytes=self._cap_bytes)
            gone = self._database.submit(insert).result()
        except BaseException:
            self._leave([stored])
            raise
        self._leave(gone)

    def _leave(self, pictures: list[StoredImage]) -> None:
        """Delete the files of rows that are gone; what cannot be deleted now is deleted by a later sweep."""
        try:
            self._files.delete(pictures)
        except Unavailable as problem:
            log.warning("%d pictures are left over: %s", len(pictures), problem)

    async def find(self, image_id: str) -> StoredImage:
        """The picture of that id. Raises NotFound."""
        stored = await self._database.run(partial(image_table.find, image_id=image_id))
        if stored is None:
            stored = await asyncio.to_thread(self._files.find, image_id)
        if stored is None or stored.expires <= self._clock():
            raise _unknown()
        return stored

    async def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises NotFound when it was deleted meanwhile."""
        try:
            return await asyncio.to_thread(self._files.read, stored)
        except Gone:
            raise _unknown() from None

    async def page(self, tenant: str, limit: int, after: str | None = None) -> tuple[list[StoredImage], bool]:
        """At most `limit` of the tenant's pictures, the newest first; and whether more follow.

        Raises InvalidRequest where the tenant has none of the id `after`.
        """
        return await self.page_behind(tenant, Cut(limit, after))

    async def page_behind(self, tenant: str, cut: Cut) -> tuple[list[StoredImage], bool]:
        """The same, by a cut."""
        found = await self._database.run(partial(image_table.page, tenant=tenant, cut=cut))
        if found is None:
            raise unknown_after(cut.after)
        return found

    async def page_everywhere(self, tenant: str, limit: int, after: str | None = None) -> Listed[StoredImage]:
        """The page of all gateways' pictures, where there are others (gateway/fleet/images.py)."""
        return Listed(*await self.page(tenant, limit, after))

    async def owned(self, image_id: str, tenant: str) -> StoredImage | None:
        """The tenant's picture of that id, if it is in this database."""
        found = await self._database.run(partial(image_table.owned, image_id=image_id, tenant=tenant))
        return found[0] if found else None

    async def delete(self, image_id: str, tenant: str) -> None:
        """Delete the picture. Raises NotFound when the tenant has none of that id."""
        if await self.delete_here(image_id, tenant):
            return
        stored = await self.find(image_id)
        if stored.tenant != tenant:
            raise _unknown()
        await self.delete_elsewhere(stored)

    async def delete_here(self, image_id: str, tenant: str) -> bool:
        """Delete the tenant's picture of that id; False when it is not in this database."""
        return bool(await self._drop(partial(image_table.owned, image_id=image_id, tenant=tenant)))

    async def delete_elsewhere(self, stored: StoredImage) -> None:
        """Delete a picture whose row is in another server's database."""
        await asyncio.to_thread(self._files.delete, [stored])

    async def sharing(self) -> None:
        """Delete what other gateways ask to be deleted, if there are any (gateway/fleet/images.py)."""

    async def total_bytes(self) -> int:
        """The bytes of all pictures."""
        return await self._database.run(image_table.total_bytes)

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's pictures, the oldest first, without their bytes; times are unix seconds."""
        kept = await self._database.run(partial(image_table.all_of, tenant=tenant))
        return [_told(stored) for stored in kept]

    async def erase(self, tenant: str) -> int:
        """Delete all of the tenant's; how many that were."""
        return await self._drop_all(partial(image_table.some_of, tenant=tenant))

    async def forget_before(self, unix_seconds: float) -> int:
        """Delete all that were created before; how many that were."""
        return await self._drop_all(partial(image_table.older, than=unix_seconds))

    async def sweep(self) -> int:
        """Delete what has expired; how many that were."""
        return await self._drop_all(partial(image_table.expired, now=self._clock()))

    async def sweeping(self, every_seconds: float = SWEEP_SECONDS) -> None:
        """Sweep at intervals, and first what a killed process left behind, until this is cancelled."""
        await self.sweep_leftovers()
        while True:
            await self.sweep()
            await asyncio.sleep(every_seconds)

    async def sweep_leftovers(self) -> int:
        """Delete files that no row refers to; how many that were. Files of foreign names stay."""
        return await asyncio.to_thread(self._sweep_leftovers)

    async def _drop_all(self, batch: Work[list[StoredImage]]) -> int:
        count = 0
        while dropped := await self._drop(batch):
            count += dropped
        return count

    async def _drop(self, batch: Work[list[StoredImage]]) -> int:
        going = await self._database.run(batch)
        if going:
            await asyncio.to_thread(self._files.delete, going)
            await self._database.run(partial(image_table.forget, images=going))
        return len(going)

    def _sweep_leftovers(self) -> int:
        count, left = 0, self._files.left_over(self._clock())
        while some := dict(islice(left, image_table.BATCH)):
            known = self._database.submit(partial(image_table.known, names=list(some))).result()
            for name in some.keys() - known:
                self._files.remove(some[name])
                count += 1
        return count


def _unknown() -> NotFound:
    return NotFound("No such image.")


def _told(stored: StoredImage) -> dict[str, Any]:
    return {
        "id": stored.id,
        "file_name": stored.file_name,
        "bytes": stored.size_bytes,
        "created_at": int(stored.created),
        "expires_at": int(stored.expires),
    }
