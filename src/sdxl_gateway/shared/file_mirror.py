"""The port through which gateways report their files to each other; knows nothing of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sdxl_gateway.storage.file_table import StoredFile
from sdxl_gateway.storage.pages import Cut


@dataclass(frozen=True, slots=True)
class FileElsewhere(StoredFile):
    """A file as its `gateway` reported it; `address` is where others can read its bytes, None where they cannot."""

    gateway: str
    address: str | None = None


class FileMirror(Protocol):
    """Shares the records of files among gateways, and copies of small files.

    Every method but `copies` raises Unavailable while the shared state cannot be reached.
    """

    gateway: str
    """The id of this gateway."""

    def copies(self, file: StoredFile) -> bool:
        """Whether the file is small and new enough for a shared copy."""
        ...

    async def tell(self, file: StoredFile, address: str | None, data: bytes | None) -> None:
        """Report a file of this gateway, with the `address` where others read its bytes, or with a copy of them."""
        ...

    async def told(self) -> Mapping[str, float]:
        """The ids of this gateway's files that were reported, each with when it was reported last, in unix seconds."""
        ...

    async def forget(self, file_ids: Collection[str]) -> None:
        """Remove the records and copies of these files of this gateway."""
        ...

    async def held(self, tenant: str, mine: int, most: int | None = None) -> int:
        """The bytes of the tenant's files at all gateways, where those at this one have `mine`.

        `mine` is also recorded for the other gateways, unless the sum is above `most`; without `most` nothing is.
        """
        ...

    async def find(self, file_id: str) -> FileElsewhere | None:
        """The file of that id as it was reported."""
        ...

    def copy_of(self, file: FileElsewhere) -> bytes | None:
        """The bytes of its shared copy, if there is one. Blocks: call it from a thread."""
        ...

    def listed(self, tenant: str, cut: Cut) -> AsyncIterator[FileElsewhere]:
        """The tenant's files at all gateways in the order of `cut`, from its place on; its `limit` is ignored."""
        ...

    async def ask_to_delete(self, file: FileElsewhere) -> None:
        """Ask the gateway that has the file to delete it."""
        ...

    async def to_delete(self) -> Sequence[tuple[str, str]]:
        """The files that other gateways ask this one to delete, each with its tenant."""
        ...
