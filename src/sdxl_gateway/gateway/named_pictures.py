"""Takes an Ask in which pictures are only named, gives it with the pictures themselves."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_gateway.core.ask import Ask, Elsewhere, Place, Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.ports import PictureSource


class NamedPictures:
    """Knows who brings pictures from which place; a place that nobody knows is refused by the field's name."""

    def __init__(self, sources: Mapping[Place, PictureSource]) -> None:
        self._sources = sources

    async def brought(self, ask: Ask, caller: Caller) -> Ask:
        """The Ask whole; itself where it is so already. Raises a Refusal naming the picture that cannot be had."""
        found = {
            upload.field: await self.bring(upload, caller) for upload in ask.uploads if upload.elsewhere is not None
        }
        return ask.with_pictures(found) if found else ask

    async def bring(self, upload: Upload, caller: Caller) -> Upload:
        """One picture; itself where it is here. Raises as `brought`."""
        if upload.elsewhere is None:
            return upload
        return upload.brought(await self._source(upload.field, upload.elsewhere).bring(upload, caller))

    def _source(self, field: str, elsewhere: Elsewhere) -> PictureSource:
        source = self._sources.get(elsewhere.place)
        if source is None:
            raise InvalidRequest(
                f"This server takes no pictures by '{elsewhere.place}': send the image as a data URL in 'image_url'.",
                param=field,
                code="unsupported_parameter",
            )
        return source
