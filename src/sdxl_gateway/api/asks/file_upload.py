"""Reads the form that uploads a file: its bytes as a stream, and the fields before and after them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from sdxl_gateway.api.asks.expiry import ANCHOR, SECONDS, read_expiry
from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.pictures import picture_kind, too_large
from sdxl_gateway.api.asks.values import choice, integer, missing
from sdxl_gateway.api.http.json_body import media_type, parse_json
from sdxl_gateway.api.http.multipart import PartBegin, PartEnd, PartEvent, broken, parts
from sdxl_gateway.config import Files
from sdxl_gateway.core.ask import Upload
from sdxl_gateway.core.errors import InvalidImage, InvalidRequest, UnsupportedMedia
from sdxl_gateway.core.text import shown
from sdxl_gateway.pictures.scrub import scrubbed
from sdxl_gateway.storage.file_table import Purpose
from sdxl_gateway.storage.files import NewFile

TEXT_BYTES = 1024
NAME_CHARS = 255
_PURPOSE = Field("purpose", Kind.CHOICE, "What the file is for.", choices=(Purpose.VISION, Purpose.BATCH))
_EXPIRY, _ANCHOR, _SECONDS = "expires_after", "expires_after[anchor]", "expires_after[seconds]"
_NAMES = ("purpose", _EXPIRY, _ANCHOR, _SECONDS)


class FileUpload:
    """One form. Call `described` only after all of `chunks` has been read."""

    def __init__(self, request: Request, files: Files, max_image_bytes: int) -> None:
        self._request = request
        self._settings = files
        self._max_image_bytes = max_image_bytes
        self._texts: dict[str, str] = {}
        self._name: str | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes; reads to the end of the form. Raises InvalidRequest naming a field, UnsupportedMedia."""
        if media_type(self._request) != "multipart/form-data":
            raise UnsupportedMedia("Send the file as multipart/form-data.")
        begun, text = PartBegin(""), b""
        async for event in self._events():
            if isinstance(event, PartBegin):
                begun, text = event, b""
                self._begin(event)
            elif begun.name == "file":
                if isinstance(event, bytes):
                    yield event
            elif isinstance(event, PartEnd):
                self._texts[begun.name] = text.decode("utf-8", "replace").strip()
            else:
                text += event
                if len(text) > TEXT_BYTES:
                    raise broken("a text field is too long")

    def _events(self) -> AsyncIterator[PartEvent]:
        return parts(self._request.headers["content-type"], self._request.stream())

    def _begin(self, part: PartBegin) -> None:
        if part.name == "file":
            if self._name is not None:
                raise InvalidRequest("There is one file in a form.", param="file", code="duplicate_parameter")
            self._name = _plain(part.file_name)
        elif part.name not in _NAMES:
            word = part.name[:64]
            raise InvalidRequest(f"Unknown parameter: {shown(word)}.", param=word, code="unknown_parameter")

    def described(self, size: int, head: bytes) -> NewFile:
        """The file as the form describes it; `size` is in bytes. Raises InvalidRequest naming a field, InvalidImage."""
        if self._name is None:
            raise missing("file")
        if not self._texts.get("purpose"):
            raise missing("purpose", given="purpose" in self._texts)
        purpose = Purpose(choice(_PURPOSE, self._texts["purpose"], "purpose"))
        if not size:
            raise InvalidRequest("Invalid file 'file': the file is empty.", param="file", code="empty_file")
        if purpose is Purpose.VISION:
            self._check_picture(size, head)
        return NewFile(self._name, purpose, self._keep_seconds(purpose), _clean if purpose is Purpose.VISION else None)

    def _check_picture(self, size: int, head: bytes) -> None:
        if size > self._max_image_bytes:
            raise too_large("file", self._max_image_bytes)
        if picture_kind(head) is None:
            raise InvalidImage("Invalid image file 'file'. Supported formats are PNG, JPEG and WebP.", param="file")

    def _keep_seconds(self, purpose: Purpose) -> float | None:
        """By default as OpenAI keeps files: those of batches for a month, others until they are deleted."""
        said = self._said_seconds()
        return self._settings.batch_keep_seconds if said is None and purpose is Purpose.BATCH else said

    def _said_seconds(self) -> float | None:
        """The requested time, in two fields, as most of OpenAI's SDKs send it, or in one of JSON, as that for .NET."""
        if told := self._texts.get(_EXPIRY):
            return read_expiry(parse_json(told.encode(), param=_EXPIRY), _EXPIRY)
        if _SECONDS in self._texts:
            choice(ANCHOR, self._texts.get(_ANCHOR, "created_at"), _ANCHOR)
            return float(integer(SECONDS, self._texts[_SECONDS], _SECONDS))
        if _ANCHOR in self._texts:
            raise missing(_SECONDS)
        return None


def _clean(data: bytes) -> bytes:
    """The picture's bytes without metadata on who made it, and where."""
    return scrubbed(Upload("file", data))


def _plain(name: str) -> str:
    """The file's name as it is shown: the last part of the path, without unprintable characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable())[:NAME_CHARS] or "upload"
