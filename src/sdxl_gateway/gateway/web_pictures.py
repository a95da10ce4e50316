"""Takes a picture that was named by its URL, gives its bytes, or a refusal naming the field."""

from __future__ import annotations

import asyncio

from sdxl_gateway import config
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import BodyTooLarge, GatewayError, InvalidImage, InvalidRequest
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.outside import PictureFetched
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused, TooLarge

ACCEPT = "image/png, image/jpeg, image/webp"
OK = 200
AT_ONCE = 16
"""Concurrent downloads: each may hold as many bytes as an upload."""


class WebPictures:
    """A core PictureSource; `max_bytes` are for each picture, `listener` hears what came of it."""

    def __init__(self, egress: Egress, settings: config.Egress, max_bytes: int, listener: Listener) -> None:
        self._egress = egress
        self._settings = settings
        self._max_bytes = max_bytes
        self._listener = listener
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def bring(self, upload: Upload, caller: Caller) -> bytes:
        """The picture's bytes. Raises InvalidRequest, InvalidImage or BodyTooLarge naming its field."""
        try:
            data = await self._fetched(upload)
        except GatewayError as error:
            self._listener(PictureFetched("refused" if isinstance(error, InvalidRequest) else "failed"))
            raise
        self._listener(PictureFetched("fetched"))
        return data

    async def _fetched(self, upload: Upload) -> bytes:
        try:
            async with asyncio.timeout(self._settings.image_seconds), self._turns:
                return await self._asked(upload)
        except EgressRefused as why:
            message = f"Invalid '{upload.field}': the image is not fetched, as {why}."
            raise InvalidRequest(message, param=upload.field, code="invalid_image_url") from None
        except TooLarge:
            message = f"Invalid '{upload.field}': an image has at most {self._max_bytes} bytes."
            raise BodyTooLarge(message, param=upload.field, code="image_file_too_large") from None
        except EgressFailed as why:
            raise _not_fetched(upload, str(why)) from None
        except TimeoutError:
            raise _not_fetched(upload, f"it took longer than {self._settings.image_seconds:g} s") from None

    async def _asked(self, upload: Upload) -> bytes:
        reply = await self._egress.get(
            upload.elsewhere.name if upload.elsewhere else "",
            accept=ACCEPT,
            timeout_seconds=self._settings.image_seconds,
            max_bytes=self._max_bytes,
            hosts=self._settings.image_hosts,
        )
        if reply.status != OK:
            raise EgressFailed(f"its server answered {reply.status}")
        if not reply.content:
            raise EgressFailed("its server sent nothing")
        return reply.content


def _not_fetched(upload: Upload, why: str) -> InvalidImage:
    message = f"Invalid '{upload.field}': the image could not be fetched: {why}."
    return InvalidImage(message, param=upload.field, code="failed_to_download_image")
