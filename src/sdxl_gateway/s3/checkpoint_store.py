"""Fetched checkpoints on this machine's disk, in a bounded number of bytes."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sdxl_gateway.catalog.checkpoint_folder.stored import is_whole, stored_folder
from sdxl_gateway.core.errors import CLOSING, Unavailable
from sdxl_gateway.core.files import INCOMING_PREFIX, INCOMING_SUFFIX, sync_folder
from sdxl_gateway.s3.manifest import Manifest, Part
from sdxl_gateway.s3.registry import Registry
from sdxl_gateway.s3.resumed import Resumed

log = logging.getLogger(__name__)

NO_ROOM = "The checkpoints in use leave no room on this server for another; ask again."
NO_ROOM_SECONDS = 15.0
TURN_SECONDS = 0.5
LOCKS = "shared-checkpoint-locks"
TURN = "turn"


class CheckpointStore:
    """Checkpoints by the sha256 of their manifests, in at most `max_bytes`; the least recently held are removed first.

    Several processes of a machine may share the directory: what one fetches is there for all, one fetches at a time,
    and what any of them holds is kept. A checkpoint is held by a shared lock, which ends with its process.
    """

    def __init__(self, registry: Registry, data_directory: Path, max_bytes: int) -> None:
        self._registry = registry
        self._folder = stored_folder(data_directory)
        self._locks = data_directory / LOCKS
        self._max_bytes = max_bytes
        self._held = defaultdict[str, list[int]](list)
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop fetching; an interrupted fetch resumes when it is asked for again."""
        self._closed.set()

    def has(self, digest: str) -> bool:
        """Whether it is here now."""
        return (self._folder / digest).exists()

    def whole(self) -> tuple[str, ...]:
        """All that are here now."""
        with suppress(FileNotFoundError):
            return tuple(sorted(folder.name for folder in self._folder.iterdir() if is_whole(folder)))
        return ()

    def hold(self, digest: str) -> bool:
        """Hold it, so that it stays until `let_go`; False if it is not here."""
        if not self.has(digest):
            return False
        descriptor = self._opened(digest)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not self.has(digest):  # it was removed before the lock was taken
            os.close(descriptor)
            return False
        self._held[digest].append(descriptor)
        os.utime(self._folder / digest)
        return True

    def let_go(self, digest: str) -> None:
        """Release it, once for each time that it was held."""
        os.close(self._held[digest].pop())

    def fetch(self, digest: str, manifest: Manifest) -> None:
        """Fetch it, verifying each file while it is written, unless it is here.

        Raises Unavailable, CheckpointProblem for a file that is not what the manifest says, Gone, OSError.
        """
        with self._turn():
            if self.has(digest):
                return
            self._make_room(digest, manifest.size_bytes)
            coming = self._folder / f"{digest}{INCOMING_SUFFIX}"
            for place, part in manifest.files.items():
                self._bring(part, coming / place)
            os.utime(coming)
            coming.rename(self._folder / digest)
            sync_folder(self._folder)

    def keep_only(self, digests: Collection[str]) -> None:
        """Remove all others, except those that are held."""
        with self._turn():
            for folder, _ in self._oldest():
                if folder.name.removesuffix(INCOMING_SUFFIX) not in digests:
                    self._remove(folder)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A context in which no other process fetches or removes anything. Raises Unavailable."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = self._opened(TURN)
        try:
            while not _locked(descriptor):
                if self._closed.wait(TURN_SECONDS):
                    raise Unavailable(CLOSING)
            yield
        finally:
            os.close(descriptor)

    def _opened(self, lock: str) -> int:
        """A descriptor of a lock file, which is never removed: a lock on a removed file would be seen by nobody."""
        self._locks.mkdir(parents=True, exist_ok=True)
        return os.open(self._locks / lock, os.O_RDWR | os.O_CREAT, 0o600)

    def _bring(self, part: Part, path: Path) -> None:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        file = Resumed(path)
        file.take(self._following(part, file.size_bytes), part.sha256)

    def _following(self, part: Part, start: int) -> Iterator[bytes]:
        for piece in self._registry.bucket.ranges(self._registry.file_key(part.sha256), start, part.size_bytes):
            if self._closed.is_set():
                raise Unavailable(CLOSING)
            yield piece

    def _make_room(self, digest: str, needed_bytes: int) -> None:
        others = [(folder, size) for folder, size in self._oldest() if not folder.name.startswith(digest)]
        total = sum(size for _, size in others)
        for folder, size in others:
            if total + needed_bytes > self._max_bytes and self._remove(folder):
                total -= size
        if total + needed_bytes > self._max_bytes:
            raise Unavailable(NO_ROOM, retry_after_seconds=NO_ROOM_SECONDS)

    def _oldest(self) -> list[tuple[Path, int]]:
        """Folders and their bytes, the least recently held first; incomplete ones too."""
        for left in self._folder.glob(f"{INCOMING_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        folders = sorted(self._folder.iterdir(), key=lambda one: one.stat().st_mtime)
        return [(folder, _bytes(folder)) for folder in folders]

    def _remove(self, folder: Path) -> bool:
        """Remove it atomically; False if it is held."""
        aside = self._folder / f"{INCOMING_PREFIX}{folder.name}"
        descriptor = self._opened(folder.name)
        try:
            if not _locked(descriptor):
                return False
            folder.rename(aside)
        finally:
            os.close(descriptor)
        shutil.rmtree(aside, ignore_errors=True)
        log.info("the shared checkpoint %s left this machine's disk", folder.name)
        return True


def _locked(descriptor: int) -> bool:
    """Whether the lock could be taken, which nobody else then has until the descriptor is closed."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
