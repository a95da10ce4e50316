"""Takes a batch's answers line by line, gives their pictures as a ZIP archive, byte by byte as they are read."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from sdxl_gateway.core.errors import NotFound

MISSING = "missing.txt"
"""The entry that names pictures which are not kept any more; there where there are some."""
NAME_CHARS = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

ReadPicture = Callable[[str], Awaitable[bytes]]
"""From a kept picture's id to its bytes. Raises NotFound."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    told: dict[str, Any]


class _Sink:
    """What was written since the last look; it cannot be sought in, as a network cannot."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def archived(lines: AsyncIterator[bytes], read: ReadPicture) -> AsyncIterator[bytes]:
    """A ZIP archive of the pictures in these lines, uncompressed; one line's pictures are in memory at a time.

    Each is called by its place in the file and its custom_id; a line that comes twice is taken once.
    """
    sink, seen, missing = _Sink(), set[str](), list[str]()
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        async for line in lines:
            found = await asyncio.to_thread(json.loads, line)
            if found["custom_id"] in seen:
                continue
            seen.add(found["custom_id"])
            for entry in _entries(found, len(seen)):
                try:
                    data = await _data(entry.told, read)
                except NotFound:
                    missing.append(entry.name)
                    continue
                await asyncio.to_thread(archive.writestr, _info(entry.name), data)
                yield sink.taken()
        if missing:
            archive.writestr(_info(MISSING), "\n".join(missing) + "\n")
    yield sink.taken()


def _entries(line: dict[str, Any], number: int) -> Iterator[_Entry]:
    body = line["response"]["body"]
    stem = f"{number:05}-{_UNSAFE.sub('_', line['custom_id'])[:NAME_CHARS]}"
    for index, told in enumerate(body["data"]):
        place = f"-{index}" if len(body["data"]) > 1 else ""
        yield _Entry(f"{stem}{place}.{body['output_format']}", told)


async def _data(told: dict[str, Any], read: ReadPicture) -> bytes:
    if "b64_json" in told:
        return await asyncio.to_thread(base64.b64decode, told["b64_json"])
    return await read(told["id"])


def _info(name: str) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = 0o644 << 16
    return info
