"""Reads the request that uploads a LoRA or a checkpoint: its name, whether it replaces one, and its bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from sdxl_gateway.api.asks import values
from sdxl_gateway.api.asks.keys import refuse_unknown
from sdxl_gateway.api.http.json_body import media_type
from sdxl_gateway.api.http.multipart import PartBegin, PartEnd, PartEvent, broken, parts
from sdxl_gateway.catalog.lora_folder.names import check_new_name, one_spelling
from sdxl_gateway.core.errors import InvalidRequest, UnsupportedMedia

FIELD_BYTES = 1024
FIELDS = frozenset({"name", "replace"})


async def read_upload(request: Request) -> tuple[str, bool, AsyncIterator[bytes]]:
    """The name, whether it may replace an existing file, and the file's bytes as a stream.

    Raises UnsupportedMedia, or InvalidRequest naming `name`, `replace` or `file`; reading the bytes may raise more.
    """
    kind = media_type(request)
    fields = {key: request.query_params[key] for key in FIELDS & request.query_params.keys()}
    if kind == "multipart/form-data":
        events = parts(request.headers["content-type"], request.stream())
        fields |= await _fields_before_file(events)
        data = _file_bytes(events)
    elif kind == "application/octet-stream":
        data = request.stream()
    else:
        raise UnsupportedMedia("Send the file as multipart/form-data or as application/octet-stream.")
    return _checked_name(fields.get("name")), values.flag(fields.get("replace", "false"), "replace"), data


async def _fields_before_file(events: AsyncIterator[PartEvent]) -> dict[str, str]:
    """The form's text fields before its file."""
    fields: dict[str, str] = {}
    name, text = "", b""
    async for event in events:
        if isinstance(event, PartBegin):
            if event.is_file or event.name == "file":
                return fields
            name, text = event.name, b""
            refuse_unknown({name: text}, FIELDS)
        elif isinstance(event, PartEnd):
            fields[name] = text.decode("utf-8", "replace").strip()
        else:
            text += event
            if len(text) > FIELD_BYTES:
                raise broken("a text field is too long")
    raise values.missing("file")


async def _file_bytes(events: AsyncIterator[PartEvent]) -> AsyncIterator[bytes]:
    """The file's bytes. Reads to the end of the form, so that a truncated body is never taken for a whole file."""
    async for event in events:
        if isinstance(event, PartBegin):
            raise InvalidRequest("A form's fields come before its file, of which there is one.", param=event.name[:64])
        if isinstance(event, bytes):
            yield event


def _checked_name(name: str | None) -> str:
    if not name:
        raise values.missing("name")
    check_new_name(name)
    return one_spelling(name)
