"""Writes a large file from incoming bytes, which may be interrupted, and verifies its sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.files import INCOMING_SUFFIX
from sdxl_gateway.s3.mirror import LIES


class Resumed:
    """The part of the file `path` that has arrived, stored beside it; it survives interruptions and restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._coming = path.with_name(path.name + INCOMING_SUFFIX)

    @property
    def size_bytes(self) -> int:
        """How many bytes have arrived."""
        return self._coming.stat().st_size if self._coming.exists() else 0

    def take(self, pieces: Iterable[bytes], digest: str) -> None:
        """Append the rest of the bytes, and put the complete file in place, on the disk.

        Raises CheckpointProblem if its sha256 is not the `digest`; nothing is left of it then.
        """
        with self._coming.open("a+b") as file:
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256")
            for piece in pieces:
                file.write(piece)
                sha256.update(piece)
            file.flush()
            os.fsync(file.fileno())
        if sha256.hexdigest() != digest:
            self._coming.unlink()
            raise CheckpointProblem(LIES)
        self._coming.rename(self._path)
