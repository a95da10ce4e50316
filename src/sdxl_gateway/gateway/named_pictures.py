"""Takes an Ask whose pictures are named by file id or URL, gives it with the pictures' bytes."""

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
"""The message and the code of the refusal where a server reads no pictures from that place."""


class NamedPictures:
    """The sources of pictures by place; a place without a source is refused, naming the field.

    Those of one request have at most `most_bytes` together, as if they had come in its body.
    """

    def __init__(self, sources: Mapping[Place, PictureSource], *, most_bytes: int) -> None:
        self._sources = sources
        self._most_bytes = most_bytes

    async def brought(self, ask: Ask, caller: Caller) -> Ask:
        """The Ask with all its pictures; itself when none is only named. Raises a Refusal naming the field."""
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
        """One picture with its bytes; itself when it has them. Raises as `brought`."""
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
