"""Takes encoded pictures, gives each an unguessable id, and keeps them until their time is over."""

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
    """A core ImageStore: their bytes in `files`, everything else about them in the database.

    A file is there before its row, and goes before it: to delete a row takes room, which a
    full disk has once the files are gone.
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
        """How long pictures put here from now on are kept, and how much all of them may take from the next on."""
        self._keep_seconds = delivery.keep_seconds
        self._cap_bytes = delivery.max_stored_bytes

    async def put(self, data: bytes, ext: str, *, tenant: str) -> StoredImage:
        """Keep these bytes; when this returns they are there for good, and will be found after a power cut.

        Above the cap the tenant that takes the most loses its oldest.

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
        """Their rows are gone, or never were; what cannot be deleted now is left over."""
        try:
            self._files.delete(pictures)
        except Unavailable as problem:
            log.warning("%d pictures are left over: %s", len(pictures), problem)

    async def find(self, image_id: str) -> StoredImage:
        """The kept picture of that id. Raises NotFound."""
        stored = await self._database.run(partial(image_table.find, image_id=image_id))
        if stored is None:
            stored = await asyncio.to_thread(self._files.find, image_id)
        if stored is None or stored.expires <= self._clock():
            raise _unknown()
        return stored

    async def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises NotFound when it went meanwhile."""
        try:
            return await asyncio.to_thread(self._files.read, stored)
        except Gone:
            raise _unknown() from None

    async def page(self, tenant: str, limit: int, after: str | None = None) -> tuple[list[StoredImage], bool]:
        """At most `limit` of the tenant's, the newest first; and whether more follow.

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
        """The tenant's picture of that id that this database knows of."""
        found = await self._database.run(partial(image_table.owned, image_id=image_id, tenant=tenant))
        return found[0] if found else None

    async def delete(self, image_id: str, tenant: str) -> None:
        """The picture is gone. Raises NotFound where the tenant has none of that id."""
        if await self.delete_here(image_id, tenant):
            return
        stored = await self.find(image_id)
        if stored.tenant != tenant:
            raise _unknown()
        await self.delete_elsewhere(stored)

    async def delete_here(self, image_id: str, tenant: str) -> bool:
        """The tenant's picture of that id is gone; False where this database knows of none."""
        return bool(await self._drop(partial(image_table.owned, image_id=image_id, tenant=tenant)))

    async def delete_elsewhere(self, stored: StoredImage) -> None:
        """A picture is gone of which another server's database knows."""
        await asyncio.to_thread(self._files.delete, [stored])

    async def sharing(self) -> None:
        """Other gateways know what is deleted, where there are any (gateway/fleet/images.py)."""

    async def total_bytes(self) -> int:
        """What the kept pictures take together."""
        return await self._database.run(image_table.total_bytes)

    async def export(self, tenant: str) -> list[dict[str, Any]]:
        """What is remembered of the tenant's pictures, the oldest first; times are unix seconds."""
        kept = await self._database.run(partial(image_table.all_of, tenant=tenant))
        return [_told(stored) for stored in kept]

    async def erase(self, tenant: str) -> int:
        """All of the tenant's go; how many that were."""
        return await self._drop_all(partial(image_table.some_of, tenant=tenant))

    async def forget_before(self, unix_seconds: float) -> int:
        """All that came before go; how many that were."""
        return await self._drop_all(partial(image_table.older, than=unix_seconds))

    async def sweep(self) -> int:
        """What has expired goes; how many that were."""
        return await self._drop_all(partial(image_table.expired, now=self._clock()))

    async def sweeping(self, every_seconds: float = SWEEP_SECONDS) -> None:
        """Sweep now and then, for ever, at first what a killed process left behind; cancel to stop."""
        await self.sweep_leftovers()
        while True:
            await self.sweep()
            await asyncio.sleep(every_seconds)

    async def sweep_leftovers(self) -> int:
        """Files that no row names go; how many that were. Files of other names stay."""
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
