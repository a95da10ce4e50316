"""Signs the URLs in a stored reply anew."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.ports import ImageStore

ADDRESS = b'"url": '
EVENT = b"event: "
DATA = b"data: "


async def signed_anew(body: bytes, images: ImageStore, links: Links) -> bytes:
    """The body, JSON or a stream's last event, with new URLs; that of a picture no longer stored stays as it was."""
    if ADDRESS not in body:
        return body
    head, data, end = _parts(body)
    told = await asyncio.to_thread(json.loads, data)
    for entry in told.get("data", [told]):
        await _sign(entry, images, links)
    return head + (await asyncio.to_thread(json.dumps, told)).encode() + end


def _parts(body: bytes) -> tuple[bytes, bytes, bytes]:
    """The bytes before the JSON, the JSON, and the bytes behind it."""
    if not body.startswith(EVENT):
        return b"", body, b""
    name, mark, rest = body.partition(DATA)
    data = rest.rstrip()
    return name + mark, data, rest[len(data) :]


async def _sign(entry: dict[str, Any], images: ImageStore, links: Links) -> None:
    if "url" in entry and "id" in entry:
        with suppress(NotFound):
            entry["url"] = links.to(await images.find(entry["id"]))
