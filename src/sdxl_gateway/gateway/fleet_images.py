"""Keeps pictures as KeptImages does, and has one deleted at the gateway that keeps it, whichever is asked."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import Unavailable
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

    async def delete_elsewhere(self, stored: StoredImage) -> None:
        """As KeptImages; its own gateway deletes it in a moment, or once it is back. Raises Unavailable."""
        await self._mirror.ask_to_delete(stored.id, stored.tenant)
        await super().delete_elsewhere(stored)

    async def sharing(self) -> None:
        """What others ask to be deleted is, again and again, until this is cancelled."""
        while True:
            with suppress(Unavailable):
                for image_id, tenant in await self._mirror.to_delete():
                    await self.delete_here(image_id, tenant)
            await asyncio.sleep(LOOK_SECONDS)
