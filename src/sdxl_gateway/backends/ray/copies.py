"""Receives files from gateways in pieces, and stores them on the replica by their sha256, for its engine."""

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
    """The complete files in `directory`, and those that are arriving; incomplete ones are removed."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._coming: dict[tuple[str, str], IncomingCopy] = {}

    def lacks(self, digests: Collection[str]) -> list[str]:
        """Those that are missing; the others are marked as used now. Invalid digests are for the engine to refuse."""
        return [digest for digest in digests if not self._has(digest)]

    def _has(self, digest: str) -> bool:
        """Whether it is there; updates its time of use, so that it is not among the first to be removed."""
        with suppress(FileNotFoundError, AdapterRefused):
            os.utime(store_path(self._directory, digest))
            return True
        return False

    def add(self, sender: str, digest: str, chunk: bytes, last: bool) -> None:
        """Append a chunk. A file that is too large, or not of that digest, is dropped: the engine misses it."""
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
        """Drop the incomplete files of that sender."""
        for one, digest in list(self._coming):
            if one == sender:
                self._drop(sender, digest)

    def _drop(self, sender: str, digest: str) -> None:
        with self._coming.pop((sender, digest)):
            pass
