"""Stored pictures without a disk: an ImageStore in memory, and a signer with a known secret."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.core.errors import InvalidRequest, NotFound, StorageFull
from sdxl_gateway.core.listed import Listed
from sdxl_gateway.core.ports import StoredImage
from sdxl_gateway.delivery.signing import Signer

NOW = 1_700_000_000.0
KEEP_SECONDS = 1_000_000.0


def signer(now: float = NOW) -> Signer:
    """A signer whose clock stands still."""
    return Signer(lambda: b"known to every test", lambda: now)


def links(base_url: str = "http://gw") -> Links:
    """Addresses that are valid for an hour from NOW."""
    return Links(base_url, signer(), 3600.0)


def stored(number: int, ext: str = "png", tenant: str = "me") -> StoredImage:
    """The record that a store would have of its picture of that number."""
    return StoredImage(f"{number:032x}", ext, tenant, 1, NOW + number, NOW + KEEP_SECONDS)


@dataclass
class MemoryImages:
    """A core ImageStore in memory, in order of arrival; with `full` it accepts nothing."""

    full: bool = False
    kept: dict[StoredImage, bytes] = field(default_factory=dict)
    _put: int = 0

    async def put(self, data: bytes, ext: str, *, tenant: str) -> StoredImage:
        if self.full:
            raise StorageFull("The disk is full.")
        self._put += 1
        found = stored(self._put, ext, tenant)
        self.kept[found] = data
        return found

    async def find(self, image_id: str) -> StoredImage:
        for one in self.kept:
            if one.id == image_id:
                return one
        raise NotFound("No such image.")

    async def read(self, stored: StoredImage) -> bytes:
        if stored not in self.kept:
            raise NotFound("No such image.")
        return self.kept[stored]

    async def page_everywhere(self, tenant: str, limit: int, after: str | None = None) -> Listed[StoredImage]:
        newest = [one for one in reversed(self.kept) if one.tenant == tenant]
        ids = [one.id for one in newest]
        if after is not None and after not in ids:
            raise InvalidRequest("There is nothing of that id.", param="after")
        behind = newest if after is None else newest[ids.index(after) + 1 :]
        return Listed(behind[:limit], len(behind) > limit)

    async def delete(self, image_id: str, tenant: str) -> None:
        found = await self.find(image_id)
        if found.tenant != tenant:
            raise NotFound("No such image.")
        del self.kept[found]
