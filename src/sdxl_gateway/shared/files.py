"""Stores records of all gateways' files in Redis, copies of small ones, and requests to delete (as FileMirror)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from sdxl_gateway.shared.copies import MOST_SECONDS, Copies
from sdxl_gateway.shared.counts import NONE, Counts
from sdxl_gateway.shared.envelope import Envelope
from sdxl_gateway.shared.file_mirror import FileElsewhere
from sdxl_gateway.shared.link import Link, digest_of
from sdxl_gateway.shared.listing import LISTED_AT_ONCE, ids_behind
from sdxl_gateway.storage.file_table import StoredFile
from sdxl_gateway.storage.pages import Cut

KEPT_SECONDS = 86400.0
"""The record of a file is kept for so long after the last report, unless the file expires earlier."""
KEPT_MS = int(KEPT_SECONDS * 1000)
_FILE = TypeAdapter(FileElsewhere)


class SharedFiles:
    """A FileMirror: for each file a record and maybe a copy; for each tenant its file ids by age, and its bytes at each
    gateway; for each gateway a hash of when it reported which file, and one of the files it is to delete."""

    def __init__(
        self,
        link: Link,
        envelope: Envelope,
        gateway_id: str,
        copies: Copies,
        max_copy_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.gateway = gateway_id
        self._link = link
        self._envelope = envelope
        self._copies = copies
        self._max_copy_bytes = max_copy_bytes
        self._clock = clock
        self._held = Counts(link, "files-held", gateway_id, KEPT_SECONDS)

    def copies(self, file: StoredFile) -> bool:
        """As FileMirror: whether a copy is kept."""
        return file.bytes <= self._max_copy_bytes and self._copies.takes(file.bytes, self._copied_seconds(file))

    async def tell(self, file: StoredFile, address: str | None, data: bytes | None) -> None:
        """As FileMirror; the copy is stored first, because whoever finds the record may read it."""
        if data is not None:
            name = self._copy(file.id)
            closed = await self._envelope.closed_bytes(name, data)
            await self._link.ask(partial(self._copies.keep, name, b"", closed, self._copied_seconds(file)))
        await self._link.ask(partial(self._tell, FileElsewhere(**asdict(file), gateway=self.gateway, address=address)))

    async def told(self) -> Mapping[str, float]:
        """As FileMirror."""
        found: Any = await self._link.ask(partial(self._link.redis.hgetall, self._told))
        return {file_id.decode(): float(value.split()[0]) for file_id, value in found.items()}

    async def forget(self, file_ids: Collection[str]) -> None:
        """As FileMirror."""
        if file_ids:
            await self._link.ask(partial(self._forget, list(file_ids)))

    async def held(self, tenant: str, mine: int, most: int | None = None) -> int:
        """As FileMirror."""
        return await self._link.ask(partial(self._held.sum, digest_of(tenant), mine, NONE if most is None else most))

    async def find(self, file_id: str) -> FileElsewhere | None:
        """As FileMirror."""
        name = self._name(file_id)
        return self._opened(name, await self._link.ask(partial(self._link.redis.get, name)))

    def copy_of(self, file: FileElsewhere) -> bytes | None:
        """As FileMirror."""
        name = self._copy(file.id)
        closed: Any = self._link.ask_from_thread(partial(self._link.redis.hget, name, "bytes"))
        return self._envelope.read_bytes(name, closed)

    async def listed(self, tenant: str, cut: Cut) -> AsyncIterator[FileElsewhere]:
        """As FileMirror."""
        skip, more = 0, True
        while more:
            closed = await self._link.ask(partial(self._page, tenant, cut, skip))
            for file in (self._opened(name, one) for name, one in closed):
                if file is not None and cut.reaches((file.created, file.id)):
                    yield file
            skip, more = skip + LISTED_AT_ONCE, len(closed) == LISTED_AT_ONCE

    async def ask_to_delete(self, file: FileElsewhere) -> None:
        """As FileMirror; the request is signed, so that only gateways can make it."""
        name = self._deletes(file.gateway)
        closed = self._envelope.closed(f"{name}:{file.id}", file.tenant)
        await self._link.ask(partial(self._ask_to_delete, name, file.id, closed))

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """As FileMirror."""
        name, wishes = self._deletes(self.gateway), list[tuple[str, str]]()
        found: Any = await self._link.ask(partial(self._link.redis.hgetall, name))
        for file_id, closed in found.items():
            tenant = self._envelope.read(f"{name}:{file_id.decode()}", closed)
            if tenant is not None:
                wishes.append((file_id.decode(), tenant))
        return wishes

    async def _tell(self, file: FileElsewhere) -> None:
        name, listed, now = self._name(file.id), self._list(file.tenant), self._clock()
        kept_ms = KEPT_MS if file.expires is None else max(1, min(KEPT_MS, int((file.expires - now) * 1000)))
        closed = self._envelope.closed(name, _FILE.dump_python(file, mode="json"))
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.set(name, closed, px=kept_ms)
            pipeline.hset(self._told, file.id, f"{now} {listed}")
            pipeline.zadd(listed, {file.id: file.created})
            for one in (self._told, listed):
                pipeline.pexpire(one, KEPT_MS)
            await pipeline.execute()

    async def _forget(self, file_ids: list[str]) -> None:
        told: Any = await self._link.redis.hmget(self._told, file_ids)
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            for file_id, value in zip(file_ids, told, strict=True):
                pipeline.delete(self._name(file_id), self._copy(file_id))
                if value is not None:
                    pipeline.zrem(value.decode().split()[1], file_id)
            pipeline.hdel(self._told, *file_ids)
            pipeline.hdel(self._deletes(self.gateway), *file_ids)
            await pipeline.execute()

    async def _page(self, tenant: str, cut: Cut, skip: int) -> list[tuple[str, Any]]:
        ids = await ids_behind(self._link.redis, self._list(tenant), cut, skip)
        names = [self._name(file_id) for file_id in ids]
        found: Any = await self._link.redis.mget(names) if names else ()
        return list(zip(names, found, strict=True))

    async def _ask_to_delete(self, name: str, file_id: str, closed: bytes) -> None:
        async with self._link.redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(name, file_id, closed)
            pipeline.pexpire(name, KEPT_MS)
            await pipeline.execute()

    def _opened(self, name: str, closed: Any) -> FileElsewhere | None:
        value = self._envelope.read(name, closed)
        return None if value is None else _FILE.validate_python(value, strict=False)

    def _copied_seconds(self, file: StoredFile) -> float:
        end = file.created + MOST_SECONDS
        return (end if file.expires is None else min(end, file.expires)) - self._clock()

    @property
    def _told(self) -> str:
        return self._link.key("files-of", self.gateway)

    def _deletes(self, gateway: str) -> str:
        return self._link.key("file-deletes", gateway)

    def _list(self, tenant: str) -> str:
        return self._link.key("files", digest_of(tenant))

    def _copy(self, file_id: str) -> str:
        return self._link.key("file-copy", file_id)

    def _name(self, file_id: str) -> str:
        return self._link.key("file", file_id)
