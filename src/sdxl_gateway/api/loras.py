"""The LoRA shelf over HTTP: look at it, put a file on it, take one off; changing it needs an admin key."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdxl_gateway.api import values
from sdxl_gateway.api.body import media_type
from sdxl_gateway.api.images import Endpoint
from sdxl_gateway.api.multipart import PartBegin, PartEnd, PartEvent, broken, parts
from sdxl_gateway.api.visit import visit_of
from sdxl_gateway.api.world import World
from sdxl_gateway.catalog.names import shown
from sdxl_gateway.core.errors import BodyTooLarge, Forbidden, InvalidRequest, UnsupportedMedia

FIELD_BYTES = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def list_endpoint(world: World) -> Endpoint:
    async def list_loras(_: Request) -> Response:
        shelf = world.gateway.shelf
        body = {"object": "list", "data": shelf.loras(), "problems": shelf.lora_problems(), "has_more": False}
        return JSONResponse(body)

    return list_loras


def one_endpoint(world: World) -> Endpoint:
    async def one_lora(request: Request) -> Response:
        return JSONResponse(await world.gateway.shelf.lora(request.path_params["name"]))

    return one_lora


def remove_endpoint(world: World) -> Endpoint:
    async def remove_lora(request: Request) -> Response:
        _require_admin(request)
        name = request.path_params["name"]
        await world.gateway.shelf.remove_lora(name)
        return JSONResponse({"id": name, "object": "lora", "deleted": True})

    return remove_lora


def add_endpoint(world: World) -> Endpoint:
    """POST of a form (`name`, `replace`, then `file`) or of the bare file with `?name=`; never held whole."""
    max_bytes = world.settings.loras.max_file_bytes

    async def add_lora(request: Request) -> Response:
        _require_admin(request)
        name, replace, data = await _upload(request)
        await world.gateway.shelf.add_lora(name, _capped(data, max_bytes), replace)
        return JSONResponse(await world.gateway.shelf.lora(name), 201)

    return add_lora


async def _upload(request: Request) -> tuple[str, bool, AsyncIterator[bytes]]:
    kind = media_type(request)
    fields = {key: request.query_params[key] for key in ("name", "replace") if key in request.query_params}
    if kind == "multipart/form-data":
        events = parts(request.headers["content-type"], request.stream())
        fields |= await _fields_before_file(events)
        data = _file_bytes(events)
    elif kind == "application/octet-stream":
        data = request.stream()
    else:
        raise UnsupportedMedia("Send the LoRA as multipart/form-data or as application/octet-stream.")
    return _checked_name(fields.get("name")), values.flag(fields.get("replace", "false"), "replace"), data


async def _fields_before_file(events: AsyncIterator[PartEvent]) -> dict[str, str]:
    """The form's texts up to where its file begins."""
    fields: dict[str, str] = {}
    name, text = "", b""
    async for event in events:
        if isinstance(event, PartBegin):
            if event.is_file or event.name == "file":
                return fields
            name, text = event.name, b""
        elif isinstance(event, PartEnd):
            fields[name] = text.decode("utf-8", "replace").strip()
        else:
            text += event
            if len(text) > FIELD_BYTES:
                raise broken("a text field is too long")
    raise values.missing("file")


async def _file_bytes(events: AsyncIterator[PartEvent]) -> AsyncIterator[bytes]:
    """The file's bytes. Runs to the end of the form, so that a body cut short is never taken for a whole file."""
    inside = True
    async for event in events:
        if isinstance(event, PartEnd):
            inside = False
        elif inside and isinstance(event, bytes):
            yield event


async def _capped(data: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    seen = 0
    async for chunk in data:
        seen += len(chunk)
        if seen > max_bytes:
            raise BodyTooLarge(f"A LoRA file has at most {max_bytes} bytes.", param="file")
        if chunk:
            yield chunk


def _checked_name(name: str | None) -> str:
    if not name:
        raise values.missing("name")
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"Invalid LoRA name {shown(name)}: letters, digits, '.', '_' and '-', at most 128, beginning with a letter "
            "or digit.",
            param="name",
        )
    return name


def _require_admin(request: Request) -> None:
    if not visit_of(request.scope).caller.admin:
        raise Forbidden("This needs an admin key; the operator sets auth.admin_keys.")
