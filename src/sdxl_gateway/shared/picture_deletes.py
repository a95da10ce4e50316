"""Brings requests to delete a picture to the gateway that keeps it (as PictureMirror)."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_gateway.shared.notices import Notices


class PictureDeletes:
    """A PictureMirror that notifies all gateways."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    async def ask_to_delete(self, image_id: str, tenant: str) -> None:
        """As PictureMirror."""
        await self._notices.tell([image_id, tenant])

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """As PictureMirror."""
        return [(image_id, tenant) for image_id, tenant in await self._notices.told()]
