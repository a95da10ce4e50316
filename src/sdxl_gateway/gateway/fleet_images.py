"""Keeps pictures as KeptImages does, and has one deleted at the gateway that keeps it, whichever is asked."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import StorageFull, Unavailable
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.shared.picture_mirror import PictureMirror
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.picture_folder import PictureFiles

LOOK_SECONDS = 1.0


class FleetImages(KeptImages):
    """The KeptImages of a gateway that shares."""

    def __init__(self, files: PictureFiles, database: Database, delivery: Delivery, mirror: PictureMirror) -> None:
        super().__init__(files, database, delivery)
        self._mirror = mirror
        self._wishes = deque[tuple[str, str]]()

    async def delete_elsewhere(self, stored: StoredImage) -> None:
        """As KeptImages; its own gateway deletes it in a moment, or once it is back. Raises Unavailable."""
        await self._mirror.ask_to_delete(stored.id, stored.tenant)
        await super().delete_elsewhere(stored)

    async def sharing(self) -> None:
        """What others ask to be deleted is, again and again, until this is cancelled."""
        while True:
            with suppress(Unavailable, StorageFull):
                await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        """All that is asked is done; what cannot be now is in the next turn. Raises Unavailable, StorageFull."""
        self._wishes.extend(await self._mirror.to_delete())
        while self._wishes:
            await self.delete_here(*self._wishes[0])
            self._wishes.popleft()
