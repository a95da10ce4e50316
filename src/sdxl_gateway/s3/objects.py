"""Keeps bytes as objects of a bucket under names that all its servers derive alike (as Objects)."""

from __future__ import annotations

from sdxl_gateway.s3.bucket import Bucket


class BucketObjects:
    """Objects below `folder`."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket = bucket
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        """As Objects."""
        self._bucket.put(self._key(name), data)

    def read(self, name: str) -> bytes:
        """As Objects."""
        return self._bucket.read(self._key(name))

    def delete_below(self, folder: str) -> None:
        """As Objects."""
        self._bucket.delete(*[entry.key for entry in self._bucket.entries(self._key(folder))])

    def forget_before(self, unix_seconds: float) -> None:
        """As Objects."""
        entries = self._bucket.entries(self._folder)
        self._bucket.delete(*[entry.key for entry in entries if entry.changed < unix_seconds])

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"
