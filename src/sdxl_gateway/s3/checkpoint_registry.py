"""Keeps checkpoints in a bucket: a name refers to a manifest, and that to the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sdxl_gateway.core.errors import CheckpointProblem, Gone
from sdxl_gateway.s3.bucket import Bucket
from sdxl_gateway.s3.manifest import Manifest
from sdxl_gateway.s3.registry import Registry, digest_in, sha256_of

CHECKPOINTS = "checkpoints"
LIES = "What the bucket says of it is not what was put there: its sha256 is another."


class CheckpointRegistry(Registry):
    """As Registry; equal files of several checkpoints are one object."""

    unnamed_seconds = 86400.0
    """The first file of a large checkpoint may exist for hours before its name does."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket, CHECKPOINTS)

    def push(self, manifest: Manifest, files: Mapping[str, Path]) -> str:
        """Upload the files that the bucket lacks, and have the name refer to all; the manifest's sha256."""
        sources = {part.sha256: files[place] for place, part in manifest.files.items()}
        self._put_missing(sources)
        digest = self.publish(manifest.name, manifest.written())
        self._put_missing(sources)  # a sweep may have removed files that no name referred to yet
        return digest

    def _put_missing(self, sources: Mapping[str, Path]) -> None:
        there = {digest_in(entry): entry.size_bytes for entry in self.files()}
        for digest, path in sources.items():
            if there.get(digest) != path.stat().st_size:
                self.bucket.put(self.file_key(digest), path)

    def manifest(self, digest: str) -> Manifest:
        """The manifest of that sha256. Raises Gone, and CheckpointProblem if it is another one, or invalid."""
        data = self.bucket.read(self.file_key(digest))
        if sha256_of(data) != digest:
            raise CheckpointProblem(LIES)
        return Manifest.read(data)

    def needed(self, named: frozenset[str]) -> frozenset[str]:
        """The manifests and the files they refer to; all files while a manifest cannot be read."""
        try:
            manifests = [self.manifest(digest) for digest in named]
        except (CheckpointProblem, Gone):
            return frozenset(map(digest_in, self.files()))
        return named.union(part.sha256 for one in manifests for part in one.files.values())
