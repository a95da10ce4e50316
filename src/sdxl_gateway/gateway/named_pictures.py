"""Takes an Ask in which pictures are only named, gives it with the pictures themselves."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_gateway.core.ask import Ask, Elsewhere, Place, Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import BodyTooLarge, InvalidRequest
from sdxl_gateway.core.ports import PictureSource

UNKNOWN = {
    Place.FILE: ("This server takes no pictures by 'file_id'", "unsupported_parameter"),
    Place.WEB: ("This server fetches no pictures (its setting egress.image_urls is off)", "invalid_image_url"),
}
"""What is said of a place from which nobody brings pictures, and the error's code."""


class NamedPictures:
    """Knows who brings pictures from which place; a place that nobody knows is refused by the field's name.

    Those of one request have at most `most_bytes` together, as if they had come in its body.
    """

    def __init__(self, sources: Mapping[Place, PictureSource], *, most_bytes: int) -> None:
        self._sources = sources
        self._most_bytes = most_bytes

    async def brought(self, ask: Ask, caller: Caller) -> Ask:
        """The Ask whole; itself where it is so already. Raises a Refusal naming the picture that cannot be had."""
        found: dict[str, Upload] = {}
        left = self._most_bytes
        for upload in ask.uploads:
            if upload.elsewhere is None:
                continue
            found[upload.field] = here = await self.bring(upload, caller)
            left -= len(here.data)
            if left < 0:
                message = f"The pictures of one request have at most {self._most_bytes} bytes together."
                raise BodyTooLarge(message, param=upload.field)
        return ask.with_pictures(found) if found else ask

    async def bring(self, upload: Upload, caller: Caller) -> Upload:
        """One picture; itself where it is here. Raises as `brought`."""
        if upload.elsewhere is None:
            return upload
        return upload.brought(await self._source(upload.field, upload.elsewhere).bring(upload, caller))

    def _source(self, field: str, elsewhere: Elsewhere) -> PictureSource:
        source = self._sources.get(elsewhere.place)
        if source is None:
            reason, code = UNKNOWN[elsewhere.place]
            message = f"{reason}: send the image as a data URL in 'image_url'."
            raise InvalidRequest(message, param=field, code=code)
        return source
