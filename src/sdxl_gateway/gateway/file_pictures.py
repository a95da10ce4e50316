"""Takes a picture that is named by a file's id, gives the bytes of its caller's file."""

from __future__ import annotations

import asyncio

from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import InvalidRequest, NotFound
from sdxl_gateway.storage.file_table import Purpose, StoredFile
from sdxl_gateway.storage.files import FileStore


class FilePictures:
    """A core PictureSource that reads stored files."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    async def bring(self, upload: Upload, caller: Caller) -> bytes:
        """The file's bytes. Raises NotFound, Gone, InvalidRequest for a file that is not for vision."""
        file = await self._found(upload, caller)
        if file.purpose is not Purpose.VISION:
            raise InvalidRequest(f"The file is for '{file.purpose}', not for 'vision'.", param=upload.field)
        return await asyncio.to_thread(lambda: b"".join(self._files.pieces(file)))

    async def _found(self, upload: Upload, caller: Caller) -> StoredFile:
        name = "" if upload.elsewhere is None else upload.elsewhere.name
        try:
            return await self._files.find(name, caller.tenant)
        except NotFound as missing:
            raise NotFound(missing.message, param=upload.field, code="image_file_not_found") from None
