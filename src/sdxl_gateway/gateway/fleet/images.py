"""KeptImages that also list other gateways' pictures, and have them deleted where they are kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sdxl_gateway.config import Delivery
from sdxl_gateway.core.errors import StorageFull, Unavailable
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.gateway.fleet.lists import Filters, FleetList
from sdxl_gateway.gateway.fleet.questions import Questions
from sdxl_gateway.shared.picture_mirror import PictureMirror
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.images import KeptImages
from sdxl_gateway.storage.pages import Cut
from sdxl_gateway.storage.picture_folder import PictureFiles

LOOK_SECONDS = 1.0


class FleetImages(KeptImages):
    """The KeptImages of a gateway that shares."""

    def __init__(
        self,
        files: PictureFiles,
        database: Database,
        delivery: Delivery,
        mirror: PictureMirror,
        questions: Questions,
    ) -> None:
        super().__init__(files, database, delivery)
        self._mirror = mirror
        self._wishes = deque[tuple[str, str]]()
        self._list = FleetList(questions, "images", self._here, self._owned, _heard)

    async def page_everywhere(self, tenant: str, limit: int, after: str | None = None) -> Listed[StoredImage]:
        """As KeptImages, of all gateways. Raises Unavailable when one that does not answer may have `after`."""
        return await self._list.page(Cut(limit, after), tenant=tenant)

    async def delete_elsewhere(self, stored: StoredImage) -> None:
        """As KeptImages; its gateway deletes the record soon, or once it is back. Raises Unavailable."""
        await self._mirror.ask_to_delete(stored.id, stored.tenant)
        await super().delete_elsewhere(stored)

    async def sharing(self) -> None:
        """Delete what other gateways ask to be deleted, until this is cancelled."""
        while True:
            with suppress(Unavailable, StorageFull):
                await self.turn()
            await asyncio.sleep(LOOK_SECONDS)

    async def turn(self) -> None:
        """Delete all that was asked for; what fails is tried in the next turn. Raises Unavailable, StorageFull."""
        self._wishes.extend(await self._mirror.to_delete())
        while self._wishes:
            await self.delete_here(*self._wishes[0])
            self._wishes.popleft()

    async def _here(self, cut: Cut, filters: Filters) -> tuple[list[StoredImage], bool]:
        return await self.page_behind(filters["tenant"], cut)

    async def _owned(self, image_id: str, filters: Filters) -> StoredImage | None:
        return await self.owned(image_id, filters["tenant"])


def _heard(value: Sequence[Any]) -> StoredImage:
    return StoredImage(*value)
