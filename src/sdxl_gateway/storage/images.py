"""Takes encoded pictures, gives each an unguessable id, and keeps them on disk until their time is over."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import InvalidRequest, NotFound, StorageFull
from sdxl_gateway.core.files import INCOMING_SUFFIX, write_whole
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.core.text import shown
from sdxl_gateway.storage import image_table
from sdxl_gateway.storage.database import Database, Work
from sdxl_gateway.storage.directory import usable
from sdxl_gateway.storage.pages import Cut

ID_BYTES = 16
EXTENSIONS = ("png", "jpeg", "webp")
SWEEP_SECONDS = 60.0
SETTLED_SECONDS = 600.0
"""A file that no row names may be one whose row is yet to come, but not for so long."""

_NAME = re.compile(rf"([0-9a-f]{{{2 * ID_BYTES}}})(\.[0-9]{{1,12}})?\.({'|'.join(EXTENSIONS)})")
"""The number in the middle is an earlier version's, which kept no rows."""


class ImageFolder:
    """A core ImageStore: bytes as files named `<id>.<ext>` in one folder, everything else about them in the database.

    A file is there before its row, and goes before it: to delete a row takes room, which a
    full disk has once the files are gone.
    """

    kind = "images"

    def __init__(
        self,
        directory: Path,
        database: Database,
        delivery: Delivery,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._database = database
        self.limit(delivery)
        self._clock = clock
        with usable(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def limit(self, delivery: Delivery) -> None:
        """How long pictures put here from now on are kept, and how much all of them may take from the next on."""
        self._keep_seconds = delivery.keep_seconds
        self._cap_bytes = delivery.max_stored_bytes

    async def put(self, data: bytes, ext: str, *, tenant: str) -> StoredImage:
        """Keep these bytes; when this returns they are on the disk, and will be found there after a power cut.

        Above the cap the tenant that takes the most loses its oldest.

        Raises StorageFull, ValueError for an unknown `ext`.
        """
        if ext not in EXTENSIONS:
            raise ValueError(f"no picture is kept as {ext!r}")
        now = self._clock()
        stored = StoredImage(secrets.token_hex(ID_BYTES), ext, tenant, len(data), now, now + self._keep_seconds)
        # On one thread to its end, so that who is cancelled leaves no file without its row.
        await asyncio.to_thread(self._put, stored, data)
        return stored

    def _put(self, stored: StoredImage, data: bytes) -> None:
        path = self.path_of(stored)
        try:
            write_whole(path, [data])
        except OSError as error:
            raise StorageFull("The server's disk cannot take the picture.") from error
        try:
            insert = partial(image_table.insert, image=stored, cap_bytes=self._cap_bytes)
            gone = self._database.submit(insert).result()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._unlink(gone)

    async def find(self, image_id: str) -> StoredImage:
        """The kept picture of that id. Raises NotFound."""
        stored = await self._database.run(partial(image_table.find, image_id=image_id))
        if stored is None or stored.expires <= self._clock():
            raise _unknown()
        return stored

    async def read(self, stored: StoredImage) -> bytes:
        """The picture's bytes. Raises NotFound when it went meanwhile."""
        try:
            return await asyncio.to_thread(self.path_of(stored).read_bytes)
        except FileNotFoundError:
            raise _unknown() from None

    async def page(self, tenant: str, limit: int, after: str | None = None) -> tuple[list[StoredImage], bool]:
        """At most `limit` of the tenant's, the newest first; and whether more follow.

        Raises InvalidRequest where the tenant has none of the id `after`.
        """
        found = await self._database.run(partial(image_table.page, tenant=tenant, cut=Cut(limit, after)))
        if found is None:
            raise InvalidRequest(f"There is nothing of the id {shown(after or '')}.", param="after")
        return found

    async def delete(self, image_id: str, tenant: str) -> None:
        """The picture is gone. Raises NotFound where the tenant has none of that id."""
        if not await self._drop(partial(image_table.owned, image_id=image_id, tenant=tenant)):
            raise _unknown()

    async def total_bytes(self) -> int:
        """What the kept pictures take together."""
        return await self._database.run(image_table.total_bytes)

    def path_of(self, stored: StoredImage) -> Path:
        """The file it lies in."""
        return self._directory / stored.file_name

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
            await asyncio.to_thread(self._unlink, going)
            await self._database.run(partial(image_table.forget, images=going))
        return len(going)

    def _unlink(self, gone: list[StoredImage]) -> None:
        for stored in gone:
            with contextlib.suppress(OSError):
                self.path_of(stored).unlink(missing_ok=True)

    def _sweep_leftovers(self) -> int:
        count, files = 0, self._settled_files()
        while some := dict(islice(files, image_table.BATCH)):
            known = self._database.submit(partial(image_table.known, names=list(some))).result()
            for name in some.keys() - known:
                some[name].unlink(missing_ok=True)
                count += 1
        return count

    def _settled_files(self) -> Iterator[tuple[str, Path]]:
        """Each file of ours that has been there for a while, with its name."""
        settled = self._clock() - SETTLED_SECONDS
        for path in self._directory.iterdir():
            ours = _NAME.fullmatch(path.name) or path.name.endswith(INCOMING_SUFFIX)
            if ours and _changed(path) < settled:
                yield path.name, path


def _changed(path: Path) -> float:
    """When it was written last, in unix seconds; never before anything where it went meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


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
