"""Takes files piece by piece from gateways, keeps them for an engine in a store of the replica's, by their sha256."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sdxl_gateway.catalog.lora_folder.copies import IncomingCopy, store_path
from sdxl_gateway.core.errors import AdapterRefused

log = logging.getLogger(__name__)


class Arrivals:
    """Files in `directory` that are whole, and those that come. Nothing of one that never became whole is left."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._coming: dict[tuple[str, str], IncomingCopy] = {}

    def lacks(self, digests: Collection[str]) -> list[str]:
        """Those that are not there; the others are used by now. What is no digest is for the engine to refuse."""
        return [digest for digest in digests if not self._has(digest)]

    def _has(self, digest: str) -> bool:
        """As one in use: it is not the oldest of those that may be removed one day."""
        with suppress(FileNotFoundError, AdapterRefused):
            os.utime(store_path(self._directory, digest))
            return True
        return False

    def add(self, sender: str, digest: str, chunk: bytes, last: bool) -> None:
        """One that is too large, or not what its digest says, is dropped: the engine misses it in its own words."""
        if (sender, digest) not in self._coming:
            self._coming[sender, digest] = IncomingCopy(self._directory)
        copy = self._coming[sender, digest]
        copy.write(chunk)
        if copy.size_bytes > self._max_bytes or (last and copy.digest != digest):
            self._drop(sender, digest)
            log.warning("a file of %d bytes is not what its digest says, or is too large", copy.size_bytes)
        elif last:
            copy.keep()
            self._drop(sender, digest)

    def forget(self, sender: str) -> None:
        """What was to come from there does not come any more."""
        for one, digest in list(self._coming):
            if one == sender:
                self._drop(sender, digest)

    def _drop(self, sender: str, digest: str) -> None:
        with self._coming.pop((sender, digest)):
            pass
