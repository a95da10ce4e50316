"""Writes files atomically and durably: whole and on the disk, or not at all."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

INCOMING_PREFIX = ".incoming-"
INCOMING_SUFFIX = ".partial"
"""The suffix of a file while it is being written; one that is found later was left by a killed process."""


class IncomingFile:
    """A file that is written in `folder` under a hidden name, until it `becomes` the file of another path.

    A context: at its end a file that became none is deleted. Its permissions are `mode` without the umask. Raises
    OSError as the disk does.
    """

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self.path = folder / f"{INCOMING_PREFIX}{secrets.token_hex(8)}{INCOMING_SUFFIX}"
        self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")

    def write(self, chunk: bytes) -> None:
        """Append these bytes."""
        self._file.write(chunk)

    def settle(self) -> None:
        """When this returns, what was written is on the disk, and can be read at `path`."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def becomes(self, path: Path, *, replace: bool = True) -> None:
        """Rename the file to `path`, on the same file system and durably.

        What is at `path` is replaced or, if that is not wanted, FileExistsError is raised.
        """
        self.settle()
        if replace:
            self.path.replace(path)
        else:
            # A rename would silently overwrite a file that came a moment ago.
            os.link(self.path, path)
        sync_folder(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            self.path.unlink(missing_ok=True)


def write_whole(path: Path, chunks: Iterable[bytes], mode: int = 0o666) -> None:
    """Replace the file at `path`, or leave it as it was when the chunks or the disk raise; its folder must exist."""
    with IncomingFile(path.parent, mode) as file:
        for chunk in chunks:
            file.write(chunk)
        file.becomes(path)


def changed_at(path: Path) -> float:
    """When the file was last written (unix seconds); infinity if it no longer exists."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def sync_folder(folder: Path) -> None:
    """Make renames and removals in the folder durable, on systems where folders can be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
