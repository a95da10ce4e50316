"""Blobs as objects of a bucket, under ids that nobody can guess."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path

from sdxl_gateway.core.errors import Unavailable
from sdxl_gateway.core.files import IncomingFile
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.storage.blobs import (
    SPARED_SECONDS,
    Blobs,
    checked,
    is_blob_id,
    is_incoming,
    new_blob_id,
    remove_old,
)

LOOK_SECONDS = 3600.0
"""The interval between two listings of a folder, which take a request per thousand objects."""


class BucketBlobs(Blobs):
    """Objects below `folder`, which no other server uses; uploads are spooled in `spool` until they are complete."""

    def __init__(self, bucket: Bucket, folder: str, spool: Path, clock: Callable[[], float] = time.time) -> None:
        self.spool = spool
        self._bucket = bucket
        self._folder = folder
        self._clock = clock
        self._next_look = 0.0
        self._owed: set[str] = set()

    def take(self, file: IncomingFile) -> str:
        """As Blobs; when this returns the object is in the bucket."""
        blob_id = new_blob_id()
        file.settle()
        self._bucket.put(self._key(blob_id), file.path)
        return blob_id

    def address(self, blob_id: str) -> str | None:
        """As Blobs: its key."""
        return self._key(blob_id)

    def pieces_at(self, address: str) -> Iterator[bytes]:
        """As Blobs."""
        return self._bucket.pieces(address)

    def pieces(self, blob_id: str) -> Iterator[bytes]:
        """As Blobs."""
        return self._bucket.pieces(self._key(blob_id))

    def delete(self, *blob_ids: str) -> None:
        """As Blobs; what the store fails to delete goes with the next delete or sweep, as its id is known to nobody."""
        keys = {*map(self._key, blob_ids)} | self._owed
        try:
            self._bucket.delete(*keys)
        except Unavailable:
            self._owed |= keys
        else:
            self._owed -= keys

    def sweep(self, known_ids: Set[str], *, spared_seconds: float = SPARED_SECONDS) -> int:
        """As Blobs, but objects are listed once an hour."""
        now = self._clock()
        count = remove_old(self.spool, now - spared_seconds, is_incoming)
        if now < self._next_look:
            return count
        lost = [*self._lost(known_ids, now - spared_seconds)]
        self._bucket.delete(*lost)
        self._next_look = now + LOOK_SECONDS
        return count + len(lost)

    def _lost(self, known_ids: Set[str], before: float) -> Iterator[str]:
        for entry in self._bucket.entries(self._folder):
            name = entry.key.rpartition("/")[2]
            if is_blob_id(name) and name not in known_ids and entry.changed <= before:
                yield entry.key

    def _key(self, blob_id: str) -> str:
        return f"{self._folder}/{checked(blob_id)}"
