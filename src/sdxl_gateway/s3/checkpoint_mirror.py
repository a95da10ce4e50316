"""Keeps a shell of each shared checkpoint, by which it is known before it is fetched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.scan import Seen, scan_folder
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.files import INCOMING_PREFIX
from sdxl_gateway.s3.checkpoint_registry import CheckpointRegistry
from sdxl_gateway.s3.manifest import BROKEN, Manifest
from sdxl_gateway.s3.mirror import Mirror
from sdxl_gateway.s3.shells import make_shell

FOLDER = "shared-checkpoint-shells"
MANIFEST = ".manifest.json"
PLACE = "s3:{}"


class CheckpointMirror(Mirror):
    """Shells of the shared checkpoints, each in a folder named by the sha256 of its manifest.

    A checkpoint larger than `max_bytes` is a problem.
    """

    def __init__(
        self,
        registry: CheckpointRegistry,
        data_directory: Path,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(registry, data_directory, clock)
        self._checkpoints = registry
        self._folder = data_directory / FOLDER
        self._max_bytes = max_bytes
        self._refused: dict[str, str] = {}

    @property
    def digests(self) -> dict[str, str]:
        """The digest of the manifest of each name, of those with a shell."""
        return dict(self._record)

    def seen(self, before: Mapping[str, Seen]) -> dict[str, Seen]:
        """The catalogue's entries of the shells, by their paths; unchanged ones are reused."""
        known = {place.removeprefix(PLACE.format("")): seen for place, seen in before.items()}
        return {
            PLACE.format(place): seen
            for digest in self.digests.values()
            for place, seen in scan_folder(self._shell(digest), known).items()
        }

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a shell that is here. Raises CheckpointProblem."""
        try:
            return Manifest.read((self._shell(digest) / MANIFEST).read_bytes())
        except OSError as problem:
            raise CheckpointProblem(BROKEN) from problem

    def digest_at(self, path: Path) -> str:
        """The digest of the manifest of the shell at `path`."""
        return path.resolve().relative_to(self._folder.resolve()).parts[0]

    def refuse(self, digest: str, why: str) -> None:
        """Note that its files do not match the manifest: a problem from the next look on, until the server ends."""
        self._refused[digest] = why
        for name, known in self.digests.items():
            if known == digest:
                self._drop(name)
        self.look_again()

    def _shell(self, digest: str) -> Path:
        return self._folder / digest

    def _has(self, name: str, digest: str) -> bool:
        return self._shell(digest).exists()

    def _drop(self, name: str) -> None:
        shutil.rmtree(self._shell(self._record[name]), ignore_errors=True)
        self.note(name, None)

    def _fetch(self, name: str, digest: str) -> None:
        if digest in self._refused:
            raise CheckpointProblem(self._refused[digest])
        manifest = self._checkpoints.manifest(digest)
        if manifest.name != name:
            raise CheckpointProblem(BROKEN)
        if manifest.size_bytes > self._max_bytes:
            raise CheckpointProblem(f"It has {manifest.size_bytes} bytes; s3.checkpoint_bytes lets it have less.")
        self._make(digest, manifest)
        if self._record.get(name) not in (None, digest):
            self._drop(name)
        self.note(name, digest)

    def _make(self, digest: str, manifest: Manifest) -> None:
        """Make the shell, whole or not at all."""
        coming = self._folder / f"{INCOMING_PREFIX}{digest}"
        for old in (coming, self._shell(digest)):
            shutil.rmtree(old, ignore_errors=True)
        try:
            coming.mkdir(parents=True)
            (coming / MANIFEST).write_bytes(manifest.written())
            make_shell(self._checkpoints, manifest, coming)
            coming.rename(self._shell(digest))
        finally:
            shutil.rmtree(coming, ignore_errors=True)
