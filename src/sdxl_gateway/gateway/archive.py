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
"""The entry that lists the pictures which are no longer kept, if there are any."""
NAME_CHARS = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

ReadPicture = Callable[[str], Awaitable[bytes]]
"""The bytes of the kept picture of that id. Raises NotFound."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    told: dict[str, Any]


class _Sink:
    """A file for ZipFile to write to; `taken` gives what was written since the last call."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is open."""

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
